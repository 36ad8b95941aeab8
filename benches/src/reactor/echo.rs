//! One echo round: a server of one runtime, the load, and what both cost.

use std::io;

use super::Runtime;
use super::child::Server;
use super::load::{self, Plan};

/// What one round gave.
#[derive(Clone, Debug)]
pub struct Round {
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Server processor time for a million requests, seconds.
    pub cpu_seconds_per_million: f64,
    /// Of our reactor: `(counter, events per request)`.
    pub per_request: Vec<(String, f64)>,
}

fn counters(line: &str) -> Vec<(String, u64)> {
    let pairs = line.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

/// Runs one round with the server on `cpu`; the caller is pinned elsewhere.
///
/// # Errors
/// When the server does not start or ends too early.
pub fn round(runtime: Runtime, cpu: usize, plan: Plan) -> io::Result<Round> {
    let arguments = ["serve", runtime.name(), "--cpu", &cpu.to_string()].map(str::to_owned);
    let mut server = Server::start(&arguments)?;
    let address = server.line()?.parse().map_err(io::Error::other)?;
    let ours = runtime == Runtime::Ringmq;
    let server = std::cell::RefCell::new(server);
    let look = || {
        let mut server = server.borrow_mut();
        let counted = if ours { counters(&server.ask()?) } else { Vec::new() };
        Ok::<_, io::Error>((server.cpu_time()?, counted))
    };
    let (mut before, mut after) = (None, None);
    let answered = load::run(
        address,
        plan,
        || {
            before = Some(look()?);
            Ok(())
        },
        || {
            after = Some(look()?);
            Ok(())
        },
    )?;
    let (cpu_before, counted_before) = before.ok_or(io::ErrorKind::Other)?;
    let (cpu_after, counted_after) = after.ok_or(io::ErrorKind::Other)?;
    let requests = answered.requests as f64;
    let per_request = counted_before.into_iter().zip(counted_after);
    let per_request =
        per_request.map(|((name, from), (_, to))| (name, (to - from) as f64 / requests)).collect();
    Ok(Round {
        requests_per_second: requests / answered.elapsed.as_secs_f64(),
        cpu_seconds_per_million: (cpu_after - cpu_before).as_secs_f64() / requests * 1e6,
        per_request,
    })
}
