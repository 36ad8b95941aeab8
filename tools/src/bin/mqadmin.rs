//! Administration. `mqadmin --help`.

use std::process::ExitCode;

use clap::Parser;
use ringmq_tools::admin::{Cli, run};

fn main() -> ExitCode {
    ringmq_tools::log_to_stderr("error");
    match run(Cli::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            ringmq_tools::print_error("mqadmin", &error);
            ExitCode::FAILURE
        }
    }
}
