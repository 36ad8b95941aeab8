//! The same work on RingMQ's reactor, glommio and tokio, in alternating rounds: see [`ringmq_benches::reactor`].
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use ringmq_benches::reactor::append::{self, Appended};
use ringmq_benches::reactor::child::Server;
use ringmq_benches::reactor::load::Plan;
use ringmq_benches::reactor::report::{self, Series};
use ringmq_benches::reactor::{Runtime, echo, glommio, ours, tokio};

type Failure = Box<dyn std::error::Error>;

/// Compares the bare reactor with glommio and tokio. Takes about a minute and a half; leave the machine alone meanwhile.
#[derive(Parser)]
struct Arguments {
    /// Rounds of each measurement; the order of the runtimes turns from one to the next.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds counted in each round.
    #[arg(long, default_value_t = 1200)]
    millis: u64,
    /// Folder for the append file; its file system must have direct I/O. Default: beside this program.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Folder for raw results.
    #[arg(long, default_value = "benches/runs")]
    runs: PathBuf,
    /// Machine part of the results' folder name. Default: the host name.
    #[arg(long)]
    label: Option<String>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Serves echo (started by this program itself).
    #[command(hide = true)]
    Serve {
        runtime: Runtime,
        #[arg(long)]
        cpu: usize,
    },
    /// Appends for a while and prints the result (started by this program itself).
    #[command(hide = true)]
    Append {
        runtime: Runtime,
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        bytes: usize,
        #[arg(long)]
        millis: u64,
    },
}

const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    match &arguments.role {
        None => compare(&arguments),
        Some(Role::Serve { runtime, cpu }) => match runtime {
            Runtime::Ringmq => ours::echo(*cpu),
            Runtime::Glommio => glommio::echo(*cpu),
            Runtime::Tokio => tokio::echo(*cpu),
        },
        Some(Role::Append { runtime, cpu, file, bytes, millis }) => {
            let duration = Duration::from_millis(*millis);
            let samples = match runtime {
                Runtime::Ringmq => ours::append(*cpu, file.clone(), *bytes, duration)?,
                Runtime::Glommio => glommio::append(*cpu, file.clone(), *bytes, duration)?,
                Runtime::Tokio => return Err("tokio has no direct appends".into()),
            };
            println!("{}", samples.line());
            Ok(())
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let rounds = arguments.rounds.max(1);
    tokio::pin(LOAD_CPU).map_err(|error| format!("this comparison needs two processors: {error}"))?;
    let mut series = Vec::new();
    for in_flight in [1, 32] {
        series.extend(echo_rounds(rounds, in_flight, arguments.millis)?);
    }
    let beside = std::env::current_exe()?.parent().map(Path::to_owned);
    let folder = arguments.folder.clone().or(beside).unwrap_or_else(|| PathBuf::from("."));
    let file = append::make_file(&folder)?;
    let appended = [4 << 10, 64 << 10].into_iter().try_fold(Vec::new(), |mut all, bytes| {
        all.extend(append_rounds(rounds, bytes, arguments.millis, &file)?);
        Ok::<_, Failure>(all)
    });
    #[allow(clippy::disallowed_methods, reason = "a bench cleans up after itself")]
    std::fs::remove_file(&file)?;
    series.extend(appended?);

    print!("{}", report::table(&series));
    let names = nix::sys::utsname::uname()?;
    let host = names.nodename().to_string_lossy().into_owned();
    let (date, time) = report::date_and_time();
    let facts = [
        ("date", format!("{date} {time} UTC")),
        ("kernel", names.release().to_string_lossy().into_owned()),
        ("processors", std::thread::available_parallelism()?.to_string()),
        ("rounds", rounds.to_string()),
        ("millis", arguments.millis.to_string()),
        ("append", "O_DIRECT, durable at completion, one in flight, file written before".to_owned()),
    ];
    let label = arguments.label.as_deref().unwrap_or(&host);
    let path = report::save(&arguments.runs, label, &report::json(&facts, &series))?;
    println!("\nraw rounds: {}", path.display());
    Ok(())
}

/// The runtimes in another order each round, so that a drift of the machine touches all alike.
fn turned(runtimes: &[Runtime], round: usize) -> Vec<Runtime> {
    let mut turned = runtimes.to_vec();
    turned.rotate_left(round % runtimes.len());
    turned
}

fn push(series: &mut Vec<Series>, work: &str, runtime: Runtime, measure: &str, value: f64) {
    let runtime = runtime.name();
    let known = series.iter_mut().find(|one| one.runtime == runtime && one.measure == measure);
    match known {
        Some(one) => one.rounds.push(value),
        None => {
            let (work, measure) = (work.to_owned(), measure.to_owned());
            series.push(Series { work, runtime, measure, rounds: vec![value] });
        }
    }
}

fn echo_rounds(rounds: usize, in_flight: usize, millis: u64) -> Result<Vec<Series>, Failure> {
    let plan = Plan {
        connections: 16,
        in_flight,
        warm_up: Duration::from_millis(200),
        measured: Duration::from_millis(millis),
    };
    let work = format!("echo 16x{in_flight}");
    let mut series = Vec::new();
    for round in 0..rounds {
        for runtime in turned(&[Runtime::Ringmq, Runtime::Glommio, Runtime::Tokio], round) {
            let result = echo::round(runtime, SERVER_CPU, plan)?;
            push(&mut series, &work, runtime, "thousand requests/s", result.requests_per_second / 1e3);
            push(&mut series, &work, runtime, "server CPU s/million", result.cpu_seconds_per_million);
            for (name, count) in result.per_request {
                if matches!(name.as_str(), "enters" | "sqes" | "cqes") {
                    push(&mut series, &work, runtime, &format!("{name}/request"), count);
                }
            }
        }
    }
    sort(&mut series);
    Ok(series)
}

fn append_rounds(rounds: usize, bytes: usize, millis: u64, file: &Path) -> Result<Vec<Series>, Failure> {
    let work = format!("append {} KiB", bytes >> 10);
    let mut series = Vec::new();
    for round in 0..rounds {
        for runtime in turned(&[Runtime::Ringmq, Runtime::Glommio], round) {
            let path = file.to_str().ok_or("the folder's name is not UTF-8")?;
            let (cpu, bytes_text, millis) = (SERVER_CPU.to_string(), bytes.to_string(), millis.to_string());
            let words = [
                "append",
                runtime.name(),
                "--cpu",
                &cpu,
                "--file",
                path,
                "--bytes",
                &bytes_text,
                "--millis",
                &millis,
            ];
            let mut child = Server::start(&words.map(str::to_owned))?;
            let result = Appended::parse(&child.line()?)?;
            let gigabytes = result.writes as f64 * bytes as f64 / 1e9;
            push(&mut series, &work, runtime, "p50 µs", result.p50_nanos as f64 / 1e3);
            push(&mut series, &work, runtime, "p99 µs", result.p99_nanos as f64 / 1e3);
            push(&mut series, &work, runtime, "CPU s/GB", result.cpu_nanos as f64 / 1e9 / gigabytes);
            push(
                &mut series,
                &work,
                runtime,
                "writes/s",
                result.writes as f64 / (result.elapsed_nanos as f64 / 1e9),
            );
        }
    }
    sort(&mut series);
    Ok(series)
}

/// By measure, in the order in which measures and runtimes first came.
fn sort(series: &mut [Series]) {
    let mut measures: Vec<String> = Vec::new();
    for one in series.iter() {
        if !measures.contains(&one.measure) {
            measures.push(one.measure.clone());
        }
    }
    let names = ["ringmq", "glommio", "tokio"];
    series.sort_by_key(|one| {
        (measures.iter().position(|m| *m == one.measure), names.iter().position(|n| *n == one.runtime))
    });
}
