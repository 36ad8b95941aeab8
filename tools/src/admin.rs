//! `mqadmin`: the commands of Apache's tool, under the same names, flags and columns.
//!
//! This is the first part of them; a command that is not here says so and names what there is.

mod cluster_list;
mod consumer_progress;
pub(crate) mod format;
mod topic_list;
mod topic_route;
mod topic_status;
mod update_topic;

use std::net::{SocketAddr, ToSocketAddrs};

use clap::{Args, Parser, Subcommand};

use crate::block_on::{BlockOnError, block_on};
use crate::control::{Cluster, ControlError};

/// Administers RocketMQ clusters: RingMQ's or Apache's.
#[derive(Debug, Parser)]
#[command(name = "mqadmin", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Name servers, separated by `;`; else the environment's NAMESRV_ADDR, else 127.0.0.1:9876.
    #[arg(short = 'n', long = "namesrvAddr", env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    pub namesrv: String,
}

/// A command.
#[derive(Debug, Subcommand)]
#[command(rename_all = "camelCase")]
pub enum Command {
    /// Lists brokers with their load.
    ClusterList(cluster_list::Options),
    /// Lists all topics.
    TopicList(topic_list::Options),
    /// Shows on which brokers a topic has queues.
    TopicRoute(topic_route::Options),
    /// Shows the offsets of a topic's queues.
    TopicStatus(topic_status::Options),
    /// Creates or changes a topic.
    UpdateTopic(update_topic::Options),
    /// Deletes a topic.
    DeleteTopic(update_topic::DeleteOptions),
    /// Shows how far consumer groups are behind.
    ConsumerProgress(consumer_progress::Options),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The reactor did not start.
    #[error(transparent)]
    Reactor(#[from] BlockOnError),
    /// No name server address could be used.
    #[error("name server address {0} cannot be resolved")]
    Address(String),
    /// The cluster's answer.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Runs a command; what it prints is returned.
///
/// # Errors
/// See [`AdminError`].
pub fn run(cli: Cli) -> Result<String, AdminError> {
    let command = cli.command;
    let namesrv = resolve(&command.common().namesrv)?;
    let text = block_on(move |io| async move {
        let cluster = Cluster::new(io, namesrv);
        match command {
            Command::ClusterList(o) => cluster_list::run(&cluster, &o).await,
            Command::TopicList(o) => topic_list::run(&cluster, &o).await,
            Command::TopicRoute(o) => topic_route::run(&cluster, &o).await,
            Command::TopicStatus(o) => topic_status::run(&cluster, &o).await,
            Command::UpdateTopic(o) => update_topic::run(&cluster, &o).await,
            Command::DeleteTopic(o) => update_topic::delete(&cluster, &o).await,
            Command::ConsumerProgress(o) => consumer_progress::run(&cluster, &o).await,
        }
    })??;
    Ok(text)
}

impl Command {
    fn common(&self) -> &Common {
        match self {
            Self::ClusterList(o) => &o.common,
            Self::TopicList(o) => &o.common,
            Self::TopicRoute(o) => &o.common,
            Self::TopicStatus(o) => &o.common,
            Self::UpdateTopic(o) => &o.common,
            Self::DeleteTopic(o) => &o.common,
            Self::ConsumerProgress(o) => &o.common,
        }
    }
}

/// The first address of a `;`-separated list that resolves.
fn resolve(list: &str) -> Result<SocketAddr, AdminError> {
    list.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .find_map(|part| part.to_socket_addrs().ok()?.next())
        .ok_or_else(|| AdminError::Address(list.to_owned()))
}
