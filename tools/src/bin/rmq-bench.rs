//! Load generator. `rmq-bench --help`.

use std::process::ExitCode;

use clap::Parser;
use ringmq_tools::bench::{options::Cli, run::run};

fn main() -> ExitCode {
    ringmq_tools::log_to_stderr("warn");
    match run(&Cli::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            ringmq_tools::print_error("rmq-bench", &error);
            ExitCode::FAILURE
        }
    }
}
