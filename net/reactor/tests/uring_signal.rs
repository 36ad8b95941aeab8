//! SIGTERM and SIGINT stop a program cleanly; a program whose service fails does not wait for them.
//!
//! Runs itself as a child (`CHILD` in the environment names its part) and sends it real signals.
#![allow(clippy::disallowed_methods, reason = "starts and watches a child process")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringmq_reactor::uring::{Wake, wait_for_signal};
use ringmq_reactor::{Event, Token};
use support::{PATIENCE, Script, launch};

const CHILD: &str = "RINGMQ_TEST_CHILD";

fn main() {
    match std::env::var(CHILD).as_deref() {
        Ok("serve") => serve(),
        Ok("fail") => fail(),
        _ => {
            for (name, test) in [
                ("sigterm_stops_cleanly", signal_stops_cleanly as fn(Signal)),
                ("sigint_stops_cleanly", signal_stops_cleanly),
            ] {
                let signal = if name.contains("term") { Signal::SIGTERM } else { Signal::SIGINT };
                test(signal);
                println!("test {name} ... ok");
            }
            a_failure_ends_the_wait();
            println!("test a_failure_ends_the_wait ... ok\n\ntest result: ok. 3 passed; 0 failed");
        }
    }
}

/// The child: what a server's `main` does.
fn serve() {
    let scripts = (0..2)
        .map(|_| {
            Script::<()>::new(
                |_| {},
                |io, event| {
                    if let Event::Stop = event {
                        println!("shard {} stops", io.shard());
                    }
                },
            )
        })
        .collect();
    let process = launch(scripts);
    println!("ready");
    match wait_for_signal().expect("signals can be waited for") {
        Wake::Signal(number) => println!("signal {number}"),
        Wake::Ended => println!("ended"),
    }
    process.stop();
    process.wait().expect("a good end");
    println!("done");
}

fn fail() {
    let failing = Script::<()>::new(
        |io| {
            io.timer(io.now() + Duration::from_millis(50), Token::new(0, 0));
        },
        |_, _| panic!("disk gone"),
    );
    let process = launch(vec![failing, Script::new(|_| {}, |_, _| {})]);
    println!("ready");
    println!("{:?}", wait_for_signal().expect("signals can be waited for"));
    println!("{}", process.wait().expect_err("a shard failed"));
}

fn start(part: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env(CHILD, part)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("the child speaks");
    assert_eq!(line.trim(), "ready");
    (child, output)
}

/// What the child still says, if it ends in time.
fn rest(mut child: Child, mut output: BufReader<std::process::ChildStdout>) -> String {
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be asked") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("the child's words");
    text
}

fn signal_stops_cleanly(signal: Signal) {
    let (child, output) = start("serve");
    // It may not have come to wait yet.
    std::thread::sleep(Duration::from_millis(100));
    kill(Pid::from_raw(child.id() as i32), signal).expect("the child is there");
    let text = rest(child, output);
    assert!(text.starts_with(&format!("signal {}\n", signal as i32)), "{text}");
    assert!(
        text.contains("shard 0 stops") && text.contains("shard 1 stops") && text.ends_with("done\n"),
        "{text}"
    );
}

fn a_failure_ends_the_wait() {
    let (child, output) = start("fail");
    assert_eq!(rest(child, output), "Ended\nshard 0 panicked: disk gone\n");
}
