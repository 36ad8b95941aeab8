//! Server processes under test: started from the release binaries, on loopback, each with a folder of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "a test harness outside the reactor: starts and watches real processes"
)]

use std::ffi::OsString;
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
/// The same for a JVM on a machine that also compiles.
const APACHE_START_LIMIT: Duration = Duration::from_secs(300);

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    start_limit: Duration,
}

/// What is started as the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Our `mqbroker`.
    RingMq,
    /// The Apache broker, from a folder of its jars.
    Apache {
        /// Where `rocketmq-broker-*.jar` and what it needs lie.
        jars: PathBuf,
    },
}

/// How a broker is started; the same every time, on any port.
#[derive(Clone, Debug)]
pub struct Broker {
    program: Program,
    folder: PathBuf,
    store: PathBuf,
    settings: Vec<(String, String)>,
    tied: bool,
}

impl Broker {
    /// With its configuration and its log in `folder`, its store in `folder/store`.
    pub fn new(program: Program, folder: &Path) -> Self {
        let (folder, store) = (folder.to_owned(), folder.join("store"));
        Broker { program, folder, store, settings: Vec::new(), tied: false }
    }

    /// Puts the store elsewhere.
    #[must_use]
    pub fn store(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.store);
        self
    }

    /// Adds properties.
    #[must_use]
    pub fn settings(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    /// The kernel kills it when the thread that started it ends, however that happens (`setpriv`, util-linux).
    #[must_use]
    pub fn tied_to_this_thread(mut self) -> Self {
        self.tied = true;
        self
    }

    /// Starts it without waiting for an answer.
    ///
    /// # Panics
    /// There is nothing to start.
    pub fn launch(&self, port: u16) -> Server {
        let mut properties = format!(
            "listenPort={port}\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
             brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nautoCreateTopicEnable=true\n\
             storePathRootDir={}\n",
            self.store.display()
        );
        for (key, value) in &self.settings {
            properties.push_str(&format!("{key}={value}\n"));
        }
        let (name, mut command) = match &self.program {
            Program::RingMq => {
                let memory = memory_folder(&self.folder);
                fs::create_dir_all(&memory).expect("a folder in memory for the tail cache");
                properties.push_str(&format!("tailCachePath={}\n", memory.display()));
                ("mqbroker", vec![binary_path("mqbroker").into_os_string()])
            }
            Program::Apache { jars } => {
                properties.push_str(&format!(
                    "haListenPort={}\nstorePathCommitLog={}\n",
                    port + 1,
                    self.store.join("commitlog").display()
                ));
                ("apache-broker", apache_command(jars, &self.folder))
            }
        };
        if self.tied {
            command.splice(0..0, ["setpriv", "--pdeathsig", "KILL"].map(OsString::from));
        }
        let mut server = Server::launch(name, &command, &self.folder, port, &properties);
        if self.program != Program::RingMq {
            server.start_limit = APACHE_START_LIMIT;
        }
        server
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// It does not; the message holds the end of its log.
    pub fn start(&self, port: u16) -> Server {
        let mut server = self.launch(port);
        server.await_answers();
        server
    }
}

/// The JVM with what Apache's own start script sets, and a heap that leaves room for others.
fn apache_command(jars: &Path, folder: &Path) -> Vec<OsString> {
    const OPENED: [&str; 4] = ["java.nio", "sun.nio.ch", "java.lang", "java.util"];
    let mut command: Vec<OsString> = vec!["java".into()];
    command.extend(OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED").into()));
    command.extend(["-server", "-Xms1g", "-Xmx1g", "-Xmn512m", "-XX:MaxDirectMemorySize=1g"].map(Into::into));
    command.push(format!("-Duser.home={}", folder.display()).into());
    command.push("-cp".into());
    command.push(format!("{}/*", jars.display()).into());
    command.push("org.apache.rocketmq.broker.BrokerStartup".into());
    command
}

impl Server {
    /// Starts `mqbroker` with its store in `folder` and waits until it answers. `settings` are added to its properties.
    ///
    /// # Panics
    /// It does not start; the message holds the end of its log.
    pub fn broker(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        Broker::new(Program::RingMq, folder).settings(settings).start(port)
    }

    /// Starts `mqnamesrv` with its files in `folder`.
    ///
    /// # Panics
    /// As [`broker`](Self::broker).
    pub fn name_server(folder: &Path, port: u16) -> Self {
        let kv = folder.join("kvConfig.json");
        let properties = format!("listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={}\n", kv.display());
        let command = [binary_path("mqnamesrv").into_os_string()];
        let mut server = Self::launch("mqnamesrv", &command, folder, port, &properties);
        server.await_answers();
        server
    }

    fn launch(name: &str, command: &[OsString], folder: &Path, port: u16, properties: &str) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let configuration = folder.join(format!("{name}.conf"));
        fs::write(&configuration, properties).expect("the server's configuration");
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("the server's log");
        let errors = output.try_clone().expect("the server's log");
        let child = Process::new(&command[0])
            .args(&command[1..])
            .arg("-c")
            .arg(&configuration)
            .env("ROCKETMQ_HOME", folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name} does not start: {error}; build it with `cargo build --release` first")
            });
        Server {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            log,
            start_limit: START_LIMIT,
        }
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// It ends or is too slow; the message holds the end of its log.
    pub fn await_answers(&mut self) {
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
            assert!(started.elapsed() < self.start_limit, "the server does not answer: {}", self.log_tail());
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

    /// kill -9, also of one that has ended by itself.
    ///
    /// # Panics
    /// The kernel does not take it away.
    pub fn kill_if_alive(&mut self) {
        if self.is_alive() {
            self.kill();
        }
    }

    /// SIGTERM, and waits for the orderly end.
    ///
    /// # Panics
    /// It had ended before, does not end within 60 s, or ends with a failure.
    pub fn stop(&mut self) {
        assert!(self.is_alive(), "the server had ended by itself: {}", self.log_tail());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("SIGTERM");
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the status of the server") {
                break status;
            }
            assert!(asked.elapsed() < START_LIMIT, "the server does not stop: {}", self.log_tail());
            thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "the server stopped with {status}: {}", self.log_tail());
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

/// Where the broker of that folder keeps what outlives its process; killed brokers leave it behind.
fn memory_folder(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("/dev/shm/ringmq-tests-{name}"))
}

/// Removes a folder of a test that passed.
pub fn remove_folder(folder: &Path) {
    for left in [folder.to_owned(), memory_folder(folder)] {
        match fs::remove_dir_all(&left) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // Left-overs cost space only.
                let _ = writeln!(std::io::stderr(), "{} stays: {error}", left.display());
            }
            _ => {}
        }
    }
}
