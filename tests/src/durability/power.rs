//! Power cuts under load, again and again, against the real broker on a file system of its own.
//!
//! Most rounds: load, the cut, the load goes on for some milliseconds (an acknowledgement given after the cut counts like
//! any other), kill -9, mount again. Some cut while the broker starts, some right after its orderly stop. What lies in
//! memory, also in files under `/dev/shm` (the tail cache), is gone with the power: the broker sees a memory file system of
//! its own there, a fresh one after every cut.
//!
//! Under SYNC_FLUSH every acknowledged message must be there afterwards. Under ASYNC_FLUSH it must be if it was acknowledged
//! [`LOSS_MAX`] before the cut or followed by an orderly stop; newer ones may be gone, from the end of their queue only. Time in which the
//! disk itself did not get a flush done ([`super::pulse`]) is not the broker's.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::cache::Losses;
use super::disk::{self, Device, Disk, FileSystem, Journal, Memory};
use super::load::{Effort, Load};
use super::model::{Model, Promised, Reach};
use super::progress::{self, Progress};
use super::pulse::Pulse;
use super::{Fault, QUEUES, Random, TOPICS};
use crate::process::{Broker, Program, fresh_folder, remove_folder, unused_broker_port};
use crate::wire::Connection;

/// Under ASYNC_FLUSH: the interval that the broker is set to, and room for a machine that does other work.
pub const LOSS_MAX: Duration = Duration::from_millis(FLUSH_INTERVAL_MS + 900);
const FLUSH_INTERVAL_MS: u64 = 100;
/// A file system lives through so many cuts, then a new one takes its place: images and reading times stay small.
const CUTS_PER_LIFE: u32 = 25;
/// How long the broker may go on without its disk.
const AFTERLIFE_MS: u64 = 40;
/// A disk that gets no flush done for so long stands still.
const STALL_MIN: Duration = Duration::from_millis(500);
/// A cut at the start of the broker comes within this time.
const START_MS: u64 = 80;

/// What to do.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Which broker.
    pub program: Program,
    /// On which file system.
    pub file_system: FileSystem,
    /// On which device.
    pub device: Device,
    /// Whether acknowledgements are taken as promises of stable media.
    pub is_sync: bool,
    /// Lets the broker run with ASYNC_FLUSH all the same: proof that the rounds find what is lost.
    pub flushes_late: bool,
    /// How many cuts.
    pub cuts: u32,
    /// Chooses moments, sizes and queues.
    pub seed: u64,
}

/// What a campaign went through.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Power cuts, all kinds.
    pub cuts: u32,
    /// Of them while the broker started.
    pub at_start: u32,
    /// Of them right after its orderly stop.
    pub after_stop: u32,
    /// Of them while the disk itself stood still.
    pub stalls: u32,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Of them answered when the cut was complete: written before, or a lie that the check shows.
    pub acknowledged_late: u64,
    /// Requests refused after the cut.
    pub refused: u64,
    /// Acknowledged messages that are gone, as ASYNC_FLUSH allows.
    pub gone: u64,
    /// Sectors that a volatile cache lost.
    pub losses: Losses,
    /// Messages read back, over all rounds.
    pub read: u64,
    /// Offsets that the consumer committed.
    pub commits: u64,
    /// The longest time from the start of a process to its first answer.
    pub start_max: Duration,
    /// Broken promises.
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    UnderLoad,
    AtStart,
    AfterStop,
}

/// Runs a campaign, up to the first round that broke promises; against Apache through to the end.
///
/// # Panics
/// The machine or the broker does not do what the harness needs; or promises were broken, with the image left for a look.
pub fn run(campaign: &Campaign) -> Totals {
    if let Some(what) = disk::missing() {
        panic!("missing: {what}");
    }
    let campaign = campaign.clone();
    // Mounts and a tied broker end with this thread.
    let thread = thread::Builder::new().name("power".to_owned()).spawn(move || {
        disk::own_mounts();
        Rounds::new(campaign).run()
    });
    match thread.expect("a thread").join() {
        Ok(totals) => totals,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Rounds {
    campaign: Campaign,
    folder: std::path::PathBuf,
    random: Random,
    totals: Totals,
    /// Messages of all lives have different numbers.
    round: u32,
}

impl Rounds {
    fn new(campaign: Campaign) -> Self {
        let flush = match (campaign.is_sync, campaign.flushes_late) {
            (true, true) => "late",
            (true, false) => "sync",
            (false, _) => "async",
        };
        let name = format!("{}-{flush}-{:?}", campaign.file_system.name(), campaign.device).to_lowercase();
        let folder = fresh_folder(&format!("power-{name}"));
        println!("{name}: seed {}, image in {}", campaign.seed, folder.display());
        let random = Random::new(campaign.seed);
        Rounds { campaign, folder, random, totals: Totals::default(), round: 0 }
    }

    fn run(mut self) -> Totals {
        while self.totals.cuts < self.campaign.cuts {
            self.life();
        }
        remove_folder(&self.folder);
        self.totals
    }

    /// One file system: cuts, then a last start that proves the last cut.
    fn life(&mut self) {
        let mut disk = Disk::format(&self.folder, self.campaign.file_system, self.campaign.device);
        let mut memory = Memory::new(Path::new("/dev/shm"));
        let broker = self.broker(disk.path());
        let mut model = Model::default();
        let mut progress = Progress::default();
        let cuts = CUTS_PER_LIFE.min(self.campaign.cuts - self.totals.cuts);
        for cut in 0..=cuts {
            let is_last = cut == cuts;
            let ending = self.choose_ending(cut, is_last);
            if ending == Ending::AtStart {
                let mut server = broker.launch(unused_broker_port());
                thread::sleep(Duration::from_millis(self.random.number() % START_MS));
                self.cut(&mut disk);
                server.kill_if_alive();
                self.totals.at_start += 1;
            } else {
                self.round(&broker, &mut disk, ending, cut, is_last, &mut model, &mut progress);
            }
            disk.unmount();
            memory.clear();
            if is_last {
                break;
            }
            let losses = disk.restore(&mut self.random);
            self.totals.losses.unflushed += losses.unflushed;
            self.totals.losses.lost += losses.lost;
        }
        self.totals.commits += progress.commits();
    }

    fn choose_ending(&mut self, cut: u32, is_last: bool) -> Ending {
        let chance = self.random.number() % 8;
        if cut == 0 || is_last || self.campaign.program != Program::RingMq {
            return Ending::UnderLoad;
        }
        match chance {
            0 => Ending::AtStart,
            1 => Ending::AfterStop,
            _ => Ending::UnderLoad,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a life, borrowed one by one")]
    fn round(
        &mut self,
        broker: &Broker,
        disk: &mut Disk,
        ending: Ending,
        cut: u32,
        is_last: bool,
        model: &mut Model,
        progress: &mut Progress,
    ) {
        let started = Instant::now();
        let mut server = broker.start(unused_broker_port());
        self.totals.start_max = self.totals.start_max.max(started.elapsed());
        let address = server.address();
        let mut connection = Connection::connect(address).expect("a connection to the restarted broker");
        // Apache's topics need not outlive a cut: its faults in messages are counted, not these.
        if cut == 0 || self.campaign.program != Program::RingMq {
            for topic in TOPICS {
                assert_eq!(connection.create_topic(topic, QUEUES).expect("a topic").code, 0);
            }
        }
        let reach = if cut.is_multiple_of(5) || is_last { Reach::Everything } else { Reach::News };
        let checked = model.check(&mut connection, reach);
        self.totals.read += checked.read;
        self.totals.gone += checked.gone;
        self.note(checked.faults, cut);
        let faults = progress.check_after_restart(&mut connection, model);
        self.note(faults, cut);
        if is_last {
            server.kill();
            return;
        }
        self.round += 1;
        let effort = if self.campaign.is_sync { Effort::FULL } else { Effort::LASTING };
        let consumer = progress.start(address);
        // Not under SYNC_FLUSH, which waits for the disk itself: these flushes would hide those that the broker leaves out.
        let pulse = (!self.campaign.is_sync).then(|| Pulse::start(disk.path()));
        let load = Load::start(address, effort, self.random.number(), self.round);
        load.await_first();
        // The disk may have stood still until now, as one that is shared does: what was due meanwhile could not be written.
        let moves = Instant::now();
        let least_ms = if self.campaign.is_sync { 30 } else { 200 + LOSS_MAX.as_millis() as u64 };
        thread::sleep(Duration::from_millis(least_ms + self.random.number() % 250));
        let ended = Instant::now();
        let complete;
        let died;
        if ending == Ending::AfterStop {
            server.stop();
            died = self.cut(disk);
            complete = Instant::now();
            self.totals.after_stop += 1;
        } else {
            died = self.cut(disk);
            complete = Instant::now();
            thread::sleep(Duration::from_millis(self.random.number() % AFTERLIFE_MS));
            server.kill_if_alive();
        }
        let outcome = load.finish(ended);
        // The last moment at which the disk was able to begin a flush that got done.
        let able = pulse.map_or(ended, |pulse| pulse.finish(ended).unwrap_or(moves));
        if ended.duration_since(able) > STALL_MIN {
            self.totals.stalls += 1;
        }
        let due = match ending {
            Ending::AfterStop => Some(ended),
            _ => able.checked_sub(progress::LOSS_MAX).filter(|due| moves < *due),
        };
        progress.finish(consumer, ended, due);
        self.totals.acknowledged_late +=
            outcome.acknowledged.iter().filter(|one| one.at >= complete).count() as u64;
        self.totals.refused += outcome.refused.len() as u64;
        let promised = if self.campaign.is_sync || ending == Ending::AfterStop {
            Promised::Everything
        } else {
            Promised::Before(able.checked_sub(LOSS_MAX).expect("a machine that runs for a second"))
        };
        self.totals.acknowledged += model.add(outcome, promised, Some(died));
    }

    fn cut(&mut self, disk: &mut Disk) -> Instant {
        self.totals.cuts += 1;
        disk.cut(if self.random.number().is_multiple_of(4) { Journal::Flushed } else { Journal::Lost })
    }

    /// A broken promise ends a campaign against our own broker: the image then shows it unspoiled.
    fn note(&mut self, faults: Vec<Fault>, cut: u32) {
        if self.campaign.program == Program::RingMq && !self.campaign.flushes_late && !faults.is_empty() {
            println!("{:?}, after cut {cut} of this life, {:?}", self.campaign, self.totals);
            super::expect_none(&faults);
        }
        self.totals.faults.extend(faults);
    }

    fn broker(&self, disk: &Path) -> Broker {
        let interval = FLUSH_INTERVAL_MS.to_string();
        let is_honest = self.campaign.is_sync && !self.campaign.flushes_late;
        let flush = if is_honest { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
        let broker = Broker::new(self.campaign.program.clone(), &self.folder)
            .store(&disk.join("store"))
            .tied_to_this_thread()
            .settings(&[
                ("flushDiskType", flush),
                ("flushIntervalCommitLog", &interval),
                ("mapedFileSizeCommitLog", "33554432"), // the smallest, so that segments roll
                ("flushConsumerOffsetInterval", "200"),
                // the checks read much
                ("maxTransferCountOnMessageInMemory", "256"),
                ("maxTransferCountOnMessageInDisk", "256"),
                ("maxTransferBytesOnMessageInMemory", "1048576"),
                ("maxTransferBytesOnMessageInDisk", "1048576"),
            ]);
        match self.campaign.program {
            Program::RingMq => broker.settings(&[("shards", "2")]),
            // as in Apache's own samples
            Program::Apache { .. } => {
                broker.settings(&[("brokerRole", "ASYNC_MASTER"), ("fileReservedTime", "48")])
            }
        }
    }
}
