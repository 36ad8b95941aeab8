//! `mqnamesrv`: RingMQ's name server, with the options of RocketMQ's.

#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::{uring, with_causes};
use ringmq_transport::properties_file::Properties;
use tracing_subscriber::EnvFilter;

/// RingMQ's name server. Speaks the RocketMQ remoting protocol.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct Arguments {
    /// Configuration: a Java properties file with RocketMQ's keys
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Print every configuration key with its value, and end
    #[arg(short = 'p', long = "printConfigItem")]
    print_config: bool,
    /// Accepted for compatibility; a name server does not need to know others
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqnamesrv: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let config = configuration(arguments)?;
    if arguments.print_config {
        print!("{}", config.all().to_plain_text());
        return Ok(());
    }
    let (on_started, started) = mpsc::channel();
    let spec = Namesrv::process_with(
        config,
        Box::new(move |outcome| {
            // If nobody listens any more, the process is ending.
            let _ = on_started.send(outcome);
        }),
    );
    let process = uring::launch(spec, uring::Options::default()).map_err(|error| with_causes(&error))?;
    match started.recv() {
        Ok(Ok(address)) => {
            println!("The Name Server boot success. serializeType=JSON, address {address}");
            uring::wait_for_signal().map_err(|error| with_causes(&error))?;
            process.stop();
            process.wait().map_err(|error| with_causes(&error))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(mpsc::RecvError) => match process.wait() {
            Ok(()) => Err("ended before it could serve".to_owned()),
            Err(error) => Err(with_causes(&error)),
        },
    }
}

#[allow(clippy::disallowed_methods, reason = "the configuration is read before any shard runs")]
fn configuration(arguments: &Arguments) -> Result<NamesrvConfig, String> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut config = NamesrvConfig::new(&home);
    if let Ok(rocketmq_home) = std::env::var("ROCKETMQ_HOME") {
        config.settings.rocketmq_home = rocketmq_home;
    }
    if let Some(file) = &arguments.config_file {
        read_file(&mut config, file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(config)
}

#[allow(clippy::disallowed_methods, reason = "the configuration is read before any shard runs")]
fn read_file(config: &mut NamesrvConfig, file: &Path) -> Result<(), String> {
    let content = std::fs::read(file).map_err(|error| error.to_string())?;
    let properties = Properties::from_bytes(&content).map_err(|error| error.to_string())?;
    let unknown = config.read(&properties).map_err(|error| error.to_string())?;
    for key in unknown {
        tracing::warn!(%key, file = %file.display(), "unknown configuration key: kept, without effect");
    }
    // Request 318 writes back to where the configuration came from.
    config.settings.config_store_path = file.to_owned();
    Ok(())
}
