//! `ringmq`: a name server and a broker in one process, for a first look and for small installations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;

use clap::Parser;
use ringmq_broker::config::{ConfigError, HostFacts, Notice};
use ringmq_broker::coordination::BrokerEvent;
use ringmq_broker::{Broker, BrokerConfig};
use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::uring;

/// A RocketMQ-compatible name server and broker in one process.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmq", version)]
pub struct Options {
    /// Where everything is stored.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
    /// Port of the name server.
    #[arg(long, value_name = "N", default_value_t = 9876)]
    pub namesrv_port: u16,
    /// Port of the broker; clients of 4.4 and older use the one two below as well. [default: 10911, or the file's listenPort]
    #[arg(long, value_name = "N")]
    pub broker_port: Option<u16>,
    /// Data shards. Fixed once the store is made. [default: one per processor]
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// The broker's configuration: a Java properties file with RocketMQ's keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why the servers do not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The configuration file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The data folder cannot be made or resolved.
    #[error("cannot use {path} for data")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration is refused.
    #[error("configuration")]
    Config(#[from] ConfigError),
    /// A reactor did not start.
    #[error(transparent)]
    Start(#[from] uring::StartError),
    /// A shard failed.
    #[error(transparent)]
    Process(#[from] uring::ProcessError),
    /// The name server cannot serve.
    #[error("the name server cannot start")]
    Namesrv(#[from] ringmq_namesrv::StartError),
    /// The broker cannot serve.
    #[error("the broker cannot start: {0}")]
    Broker(String),
    /// A server ended before it served.
    #[error("the {0} ended before it could serve")]
    Ended(&'static str),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] std::io::Error),
}

/// Runs both until SIGINT or SIGTERM, then stops them cleanly, the broker first.
///
/// # Errors
/// See [`StandaloneError`]; what had been started is stopped.
pub fn run(options: &Options) -> Result<(), StandaloneError> {
    let config = broker_config(options)?;
    let namesrv = start_namesrv(options, &config)?;
    let broker = start_broker(config)?;
    println!("{}", greeting(options, &namesrv.1, &broker.1));
    uring::wait_for_signal().map_err(StandaloneError::Signal)?;
    println!("stopping");
    for process in [broker.0, namesrv.0] {
        process.stop();
        process.wait()?;
    }
    println!("stopped");
    Ok(())
}

/// The configuration file with what the command line and this way of running add to it.
#[allow(clippy::disallowed_methods, reason = "files and folders are looked at before any shard runs")]
fn broker_config(options: &Options) -> Result<BrokerConfig, StandaloneError> {
    let bytes = match &options.config {
        Some(path) => {
            std::fs::read(path).map_err(|source| StandaloneError::File { path: path.clone(), source })?
        }
        None => Vec::new(),
    };
    let in_data = |source| StandaloneError::Data { path: options.data.clone(), source };
    std::fs::create_dir_all(&options.data).map_err(in_data)?;
    let data = options.data.canonicalize().map_err(in_data)?;
    let store = data.join("store").display().to_string();
    let namesrv = SocketAddr::from((Ipv4Addr::LOCALHOST, options.namesrv_port)).to_string();
    let port = options.broker_port.map(|port| port.to_string());
    let shards = options.shards.map(|shards| shards.to_string());
    let mut overrides = vec![("storePathRootDir", store.as_str()), ("namesrvAddr", namesrv.as_str())];
    overrides.extend(port.as_deref().map(|port| ("listenPort", port)));
    overrides.extend(shards.as_deref().map(|shards| ("shards", shards)));
    let (mut config, notices) = BrokerConfig::from_bytes(&bytes, &overrides, &HostFacts::gather())?;
    for notice in notices.iter().filter(|notice| notice.is_warning()) {
        tracing::warn!("{notice}");
    }
    let idle: Vec<String> =
        notices.iter().filter(|n| matches!(n, Notice::NoEffect { .. })).map(ToString::to_string).collect();
    if !idle.is_empty() {
        tracing::info!("accepted without effect: {}", idle.join(", "));
    }
    for (server, error) in config.name_servers.look_up() {
        tracing::warn!(server, %error, "name server has no address");
    }
    config.file.clone_from(&options.config);
    Ok(config)
}

type Started = (uring::Process, Vec<SocketAddr>);

fn start_namesrv(options: &Options, broker: &BrokerConfig) -> Result<Started, StandaloneError> {
    let mut config = NamesrvConfig::new(&options.data);
    config.settings.listen_port = options.namesrv_port;
    config.settings.bind_address = broker.bind_address.to_string();
    let (tell, told) = mpsc::channel();
    let spec = Namesrv::process_with(config, Box::new(move |outcome| drop(tell.send(outcome))));
    let process = uring::launch(spec, uring::Options::default())?;
    match told.recv() {
        Ok(Ok(address)) => Ok((process, vec![address])),
        Ok(Err(error)) => Err(error.into()),
        Err(mpsc::RecvError) => {
            process.wait().map_err(Into::into).and(Err(StandaloneError::Ended("name server")))
        }
    }
}

fn start_broker(config: BrokerConfig) -> Result<Started, StandaloneError> {
    let (tell, told) = mpsc::channel();
    let spec = Broker::process_with_events(config, Box::new(move |event| drop(tell.send(event))));
    let process = uring::launch(spec, uring::Options::default())?;
    match told.recv() {
        Ok(BrokerEvent::Serving { listening, .. }) => Ok((process, listening)),
        Ok(BrokerEvent::StartFailed { cause }) => Err(StandaloneError::Broker(cause)),
        Ok(BrokerEvent::Stopped) | Err(mpsc::RecvError) => {
            process.wait().map_err(Into::into).and(Err(StandaloneError::Ended("broker")))
        }
    }
}

fn greeting(options: &Options, namesrv: &[SocketAddr], broker: &[SocketAddr]) -> String {
    let list = |addresses: &[SocketAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    };
    let reachable = namesrv.first().map_or_else(String::new, |address| {
        let ip = match address.ip() {
            ip if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        SocketAddr::from((ip, address.port())).to_string()
    });
    format!(
        "RingMQ {}\n  name server  {}\n  broker       {}\n  data         {}\nTry next:  cargo run --release --bin mqadmin -- clusterList -n {reachable}\nCtrl-C stops it.",
        env!("CARGO_PKG_VERSION"),
        list(namesrv),
        list(broker),
        options.data.display(),
    )
}
