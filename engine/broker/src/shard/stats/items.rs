//! The statistics items of code 315: sums per minute, hour and day under a name and a key.

use ringmq_reactor::Monotonic;
use rustc_hash::FxHashMap;

use crate::message::{StatsItem, StatsPeriod};

/// Items that one shard keeps (two names to a key). At 1.2 KB each that is 80 MB at most; keys beyond are not counted.
const ITEMS_MAX: usize = 65_536;

const NANOS: u64 = 1_000_000_000;

/// A ring of `N` slots of `SECONDS` each.
#[derive(Debug, Clone)]
struct Ring<const N: usize, const SECONDS: u64> {
    slots: [(u64, u64); N],
    /// Number of the slot that is being counted.
    current: u64,
}

impl<const N: usize, const SECONDS: u64> Ring<N, SECONDS> {
    fn new(now: Monotonic) -> Self {
        Self { slots: [(0, 0); N], current: now.0 / NANOS / SECONDS }
    }

    /// `times` events of `value` together.
    fn add(&mut self, now: Monotonic, value: u64, times: u64) {
        self.advance(now);
        let slot = &mut self.slots[Self::slot(self.current)];
        slot.0 += value;
        slot.1 += times;
    }

    fn sum(&mut self, now: Monotonic, since: Monotonic) -> StatsPeriod {
        self.advance(now);
        let (sum, times) =
            self.slots.iter().fold((0, 0), |(sum, times), slot| (sum + slot.0, times + slot.1));
        // The slots before the current one are whole, the current one has only begun.
        let begun = now.0 - self.current * SECONDS * NANOS;
        let covered = ((N as u64 - 1) * SECONDS * NANOS + begun).min(now.0 - since.0);
        StatsPeriod { sum, times, millis: covered / 1_000_000 }
    }

    fn advance(&mut self, now: Monotonic) {
        let number = now.0 / NANOS / SECONDS;
        if number <= self.current {
            return;
        }
        let skipped = (number - self.current).min(N as u64);
        for passed in number + 1 - skipped..=number {
            self.slots[Self::slot(passed)] = (0, 0);
        }
        self.current = number;
    }

    fn slot(number: u64) -> usize {
        usize::try_from(number % N as u64).expect("below N")
    }
}

#[derive(Debug, Clone)]
struct Item {
    since: Monotonic,
    minute: Ring<6, 10>,
    hour: Ring<6, 600>,
    day: Ring<24, 3_600>,
}

impl Item {
    fn new(now: Monotonic) -> Self {
        Self { since: now, minute: Ring::new(now), hour: Ring::new(now), day: Ring::new(now) }
    }

    fn add(&mut self, now: Monotonic, value: u64, times: u64) {
        self.minute.add(now, value, times);
        self.hour.add(now, value, times);
        self.day.add(now, value, times);
    }

    fn get(&mut self, now: Monotonic) -> StatsItem {
        StatsItem {
            minute: self.minute.sum(now, self.since),
            hour: self.hour.sum(now, self.since),
            day: self.day.sum(now, self.since),
        }
    }
}

/// Number and size of the same events, which are always counted together.
///
/// The windows are a dozen cache lines; events of one second are gathered in one, first.
#[derive(Debug)]
struct Pair {
    names: (&'static str, &'static str),
    /// Not in the windows yet: sums of number and size, how many events, and the time of the first.
    fresh: (u64, u64, u64),
    fresh_since: Monotonic,
    windows: Box<(Item, Item)>,
}

impl Pair {
    fn new(now: Monotonic, names: (&'static str, &'static str)) -> Self {
        let windows = Box::new((Item::new(now), Item::new(now)));
        Self { names, fresh: (0, 0, 0), fresh_since: now, windows }
    }

    fn add(&mut self, now: Monotonic, number: u64, size: u64) {
        // All windows' slots are whole seconds.
        if now.0 / NANOS != self.fresh_since.0 / NANOS {
            self.settle();
            self.fresh_since = now;
        }
        self.fresh.0 += number;
        self.fresh.1 += size;
        self.fresh.2 += 1;
    }

    /// Brings the windows up to date.
    fn settle(&mut self) {
        let (number, size, times) = std::mem::take(&mut self.fresh);
        if times > 0 {
            self.windows.0.add(self.fresh_since, number, times);
            self.windows.1.add(self.fresh_since, size, times);
        }
    }

    fn get(&mut self, now: Monotonic, name: &str) -> Option<StatsItem> {
        self.settle();
        match self.names {
            (number, _) if number == name => Some(self.windows.0.get(now)),
            (_, size) if size == name => Some(self.windows.1.get(now)),
            _ => None,
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Items {
    /// By key (`topic`, `topic@group`).
    pairs: FxHashMap<String, Vec<Pair>>,
    /// Reused to put keys together.
    key: String,
    count: usize,
}

impl Items {
    pub(crate) fn new(_now: Monotonic) -> Self {
        Self { pairs: FxHashMap::default(), key: String::new(), count: 0 }
    }

    /// Counts an event under two names (number and size) and a key made of `parts` joined by `@`.
    pub(crate) fn add(
        &mut self,
        now: Monotonic,
        names: (&'static str, &'static str),
        parts: &[&str],
        number: u64,
        size: u64,
    ) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                key.push('@');
            }
            key.push_str(part);
        }
        if let Some(pair) = self.pair(now, names, &key) {
            pair.add(now, number, size);
        }
        self.key = key;
    }

    pub(crate) fn get(&mut self, now: Monotonic, name: &str, key: &str) -> Option<StatsItem> {
        self.pairs.get_mut(key)?.iter_mut().find_map(|pair| pair.get(now, name))
    }

    /// Drops the items of a topic or group.
    pub(crate) fn forget(&mut self, name: &str) {
        self.pairs.retain(|key, _| !key.split('@').any(|part| part == name));
        self.count = self.pairs.values().map(Vec::len).sum();
    }

    fn pair(&mut self, now: Monotonic, names: (&'static str, &'static str), key: &str) -> Option<&mut Pair> {
        let known = self.pairs.get(key).and_then(|pairs| pairs.iter().position(|pair| pair.names == names));
        if let Some(index) = known {
            return self.pairs.get_mut(key)?.get_mut(index);
        }
        if self.count >= ITEMS_MAX / 2 {
            return None;
        }
        self.count += 1;
        let pairs = self.pairs.entry(key.to_owned()).or_default();
        pairs.push(Pair::new(now, names));
        pairs.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: (&str, &str) = ("NUMS", "SIZE");

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * NANOS)
    }

    #[test]
    fn old_slots_leave_the_sum() {
        let mut items = Items::new(at(0));
        items.add(at(5), NAMES, &["T", "g"], 1, 10);
        items.add(at(65), NAMES, &["T", "g"], 2, 20);
        let item = items.get(at(65), "NUMS", "T@g").expect("counted");
        assert_eq!((item.minute.sum, item.hour.sum, item.day.times), (2, 3, 2));
        assert_eq!(item.minute.millis, 55_000, "five whole slots and half of the sixth");
        assert_eq!(item.hour.millis, 60_000, "counted for one minute only");
        assert_eq!(items.get(at(100_000), "SIZE", "T@g").expect("kept").day.sum, 0);
    }

    #[test]
    fn deleted_names_are_forgotten() {
        let mut items = Items::new(at(0));
        items.add(at(1), NAMES, &["T"], 1, 1);
        items.add(at(1), NAMES, &["U", "T"], 1, 1);
        items.add(at(1), NAMES, &["U"], 1, 1);
        items.forget("T");
        assert_eq!(items.pairs.len(), 1);
        assert_eq!(items.count, 1);
    }
}
