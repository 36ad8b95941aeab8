//! Server processes under test: started from the release binaries, on loopback, each with a folder of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "a test harness outside the reactor: starts and watches real processes"
)]

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::Connection;

/// How long a server may take from its start until it answers, recovery included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts `mqbroker` with its store in `folder` and waits until it answers. `settings` are added to its properties.
    ///
    /// # Panics
    /// It does not start; the message holds the end of its log.
    pub fn broker(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let store = folder.join("store");
        let mut properties = format!(
            "listenPort={port}\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
             brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nautoCreateTopicEnable=true\n\
             storePathRootDir={}\n",
            store.display()
        );
        for (key, value) in settings {
            properties.push_str(&format!("{key}={value}\n"));
        }
        Self::start("mqbroker", folder, port, &properties)
    }

    /// Starts `mqnamesrv` with its files in `folder`.
    ///
    /// # Panics
    /// As [`broker`](Self::broker).
    pub fn name_server(folder: &Path, port: u16) -> Self {
        let kv = folder.join("kvConfig.json");
        let properties = format!("listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={}\n", kv.display());
        Self::start("mqnamesrv", folder, port, &properties)
    }

    fn start(binary: &str, folder: &Path, port: u16, properties: &str) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let configuration = folder.join(format!("{binary}.conf"));
        fs::write(&configuration, properties).expect("the server's configuration");
        let log = folder.join(format!("{binary}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("the server's log");
        let errors = output.try_clone().expect("the server's log");
        let child = Process::new(binary_path(binary))
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{binary} does not start: {error}; build it with `cargo build --release` first")
            });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { child, address, log };
        server.await_answers();
        server
    }

    fn await_answers(&mut self) {
        const UNKNOWN_REQUEST: i32 = 9_999;
        let started = Instant::now();
        loop {
            if let Ok(mut connection) = Connection::connect(self.address)
                && connection.call(UNKNOWN_REQUEST, &[], &[]).is_ok()
            {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status} before it answered: {}", self.log_tail());
            }
            assert!(started.elapsed() < START_LIMIT, "the server does not answer: {}", self.log_tail());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9, and waits until the kernel has taken the process away.
    ///
    /// # Panics
    /// The process had ended before.
    pub fn kill(&mut self) {
        assert!(self.is_alive(), "the server had ended by itself: {}", self.log_tail());
        self.child.kill().expect("kill -9");
        self.child.wait().expect("the killed process");
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary beside the running test's own profile folder, or in `RINGMQ_BIN_DIR`.
fn binary_path(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("RINGMQ_BIN_DIR") {
        return PathBuf::from(folder).join(name);
    }
    let test = std::env::current_exe().expect("the path of this test");
    // target/<profile>/deps/<test>
    test.ancestors().nth(2).expect("the profile folder").join(name)
}

/// A port with unused neighbours, for a broker: the VIP channel takes the second below, high availability the next above.
///
/// # Panics
/// The machine has none left.
pub fn unused_broker_port() -> u16 {
    for _ in 0..200 {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("an unused port");
        let port = probe.local_addr().expect("its address").port();
        if port > 1_030
            && port < 65_500
            && [port - 2, port + 1].iter().all(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, *p)).is_ok())
        {
            return port;
        }
    }
    panic!("no unused port with unused neighbours");
}

/// A fresh folder on the disk that the build uses, not on a memory file system: direct I/O must be real.
///
/// # Panics
/// It cannot be made.
pub fn fresh_folder(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).expect("the target folder");
    let folder = target.join("test-data").join(format!("{name}.{}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder of an earlier run");
    }
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Removes a folder of a test that passed.
pub fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        // Left-overs cost space only.
        let _ = writeln!(std::io::stderr(), "{} stays: {error}", folder.display());
    }
}
