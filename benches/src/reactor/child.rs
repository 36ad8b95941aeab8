//! A server in a process of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running child; killed when dropped.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts this very program with other arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self { child, input, output })
    }

    /// The next line it prints.
    ///
    /// # Errors
    /// When it has ended.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the server ended: {status}")));
        }
        Ok(line.trim().to_owned())
    }

    /// Sends an empty line and reads the answer.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ask(&mut self) -> io::Result<String> {
        self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"\n")?;
        self.line()
    }

    /// Processor time of all its threads so far, kernel workers included.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end in between.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanos += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
