//! Explains, checks and exports a store without a broker. `rmq-store --help`.

use std::process::ExitCode;

use clap::Parser;
use ringmq_tools::store::{Cli, EXIT_FAILED, run};

fn main() -> ExitCode {
    ringmq_tools::log_to_stderr("error");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own status for a wrong command line is 2, which `verify` gives a meaning.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_FAILED } else { 0 });
        }
    };
    match run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            ringmq_tools::print_error("rmq-store", &error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}
