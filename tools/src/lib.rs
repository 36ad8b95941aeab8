//! Command-line tools: `ringmq`, `mqadmin`, `rmq-bench`, `rmq-store`.

#![forbid(unsafe_code)]

pub mod admin;
pub mod bench;
pub mod block_on;
pub mod control;
pub mod standalone;
pub mod store;

/// Logs to standard error; `RINGMQ_LOG` overrides `default`, in tracing's filter syntax.
pub fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RINGMQ_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // a second call (tests) keeps the first subscriber
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Prints an error with its causes.
pub fn print_error(program: &str, error: &dyn std::error::Error) {
    eprintln!("{program}: {}", ringmq_reactor::with_causes(error));
}
