//! `mqbroker`: RingMQ's broker, with the options of RocketMQ's.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use ringmq_broker::config::{HostFacts, Notice};
use ringmq_broker::coordination::BrokerEvent;
use ringmq_broker::{Broker, BrokerConfig};
use ringmq_reactor::{uring, with_causes};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// RingMQ's broker. Speaks the RocketMQ remoting protocol.
#[derive(Debug, Parser)]
#[command(name = "mqbroker", version)]
struct Arguments {
    /// Configuration: a Java properties file with RocketMQ's keys
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Name servers, host:port each, separated by ';'
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Print every configuration key with its value, and end
    #[arg(short = 'p', long = "printConfigItem")]
    print_config: bool,
    /// Print the most important configuration keys, and end
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqbroker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let (mut config, notices) = configuration(arguments)?;
    if arguments.print_config || arguments.print_important {
        let properties =
            if arguments.print_config { config.to_properties() } else { config.important_properties() };
        print!("{}", properties.to_plain_text());
        return Ok(());
    }
    tell(&notices);
    for (name_server, error) in config.name_servers.look_up() {
        warn!(name_server, %error, "name server has no address: the broker does not register there");
    }
    serve(config)
}

fn serve(config: BrokerConfig) -> Result<(), String> {
    let name = config.broker_name.clone();
    let name_servers: Vec<String> = config.name_servers.texts().map(str::to_owned).collect();
    let (on_event, events) = mpsc::channel();
    let spec = Broker::process_with_events(
        config,
        Box::new(move |event| {
            // If nobody listens any more, the process is ending.
            let _ = on_event.send(event);
        }),
    );
    let process = uring::launch(spec, uring::Options::default()).map_err(|error| with_causes(&error))?;
    match events.recv() {
        Ok(BrokerEvent::Serving { address, .. }) => {
            let mut line = format!("The broker[{name}, {address}] boot success. serializeType=JSON");
            if !name_servers.is_empty() {
                line.push_str(" and name server is ");
                line.push_str(&name_servers.join(";"));
            }
            println!("{line}");
            uring::wait_for_signal().map_err(|error| with_causes(&error))?;
            process.stop();
            process.wait().map_err(|error| with_causes(&error))
        }
        Ok(BrokerEvent::StartFailed { cause }) => {
            // The shards are ending by themselves; what they say about it adds nothing to the cause.
            let _ = process.wait();
            Err(cause)
        }
        Ok(BrokerEvent::Stopped) => process.wait().map_err(|error| with_causes(&error)),
        Err(mpsc::RecvError) => match process.wait() {
            Ok(()) => Err("ended before it could serve".to_owned()),
            Err(error) => Err(with_causes(&error)),
        },
    }
}

fn configuration(arguments: &Arguments) -> Result<(BrokerConfig, Vec<Notice>), String> {
    let mut overrides = Vec::new();
    if let Some(name_servers) = &arguments.namesrv_addr {
        overrides.push(("namesrvAddr", name_servers.as_str()));
    }
    let host = HostFacts::gather();
    let Some(file) = &arguments.config_file else {
        return BrokerConfig::from_text("", &overrides, &host).map_err(|error| with_causes(&error));
    };
    let at = |error: String| format!("{}: {error}", file.display());
    #[allow(clippy::disallowed_methods, reason = "the configuration is read before any shard runs")]
    let bytes = std::fs::read(file).map_err(|error| at(error.to_string()))?;
    let (mut config, notices) =
        BrokerConfig::from_bytes(&bytes, &overrides, &host).map_err(|error| at(with_causes(&error)))?;
    // Request 25 writes back to where the configuration came from.
    config.file = Some(std::path::absolute(file).map_err(|error| at(error.to_string()))?);
    Ok((config, notices))
}

fn tell(notices: &[Notice]) {
    for notice in notices.iter().filter(|notice| notice.is_warning()) {
        warn!("{notice}");
    }
    let idle: Vec<&str> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::NoEffect { key } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    if !idle.is_empty() {
        info!(keys = idle.join(", "), "accepted without effect: RingMQ has nothing that they would tune");
    }
}
