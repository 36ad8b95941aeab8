//! `rmq-bench`: load for any broker that speaks the RocketMQ remoting protocol.

mod clock;
mod connections;
mod consume;
mod host;
mod limits;
mod load;
mod measure;
pub mod options;
mod produce;
mod report;
pub mod run;
mod template;
