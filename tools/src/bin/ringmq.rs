//! Name server and broker in one process. `ringmq --help`.

use std::process::ExitCode;

use clap::Parser;
use ringmq_tools::standalone::{Options, run};

fn main() -> ExitCode {
    ringmq_tools::log_to_stderr("warn");
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ringmq_tools::print_error("ringmq", &error);
            ExitCode::FAILURE
        }
    }
}
