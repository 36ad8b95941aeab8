//! Kinds of values that only the broker's configuration has.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ringmq_transport::properties_file::{SettingValue, ValueError};

/// Bodies larger than this cannot travel in one frame (16 MiB) together with their header.
pub(super) const MESSAGE_BYTES_LIMIT: u32 = (16 << 20) - (128 << 10);
/// Smallest segment: one record of the largest size, with room for a blank record at the end, in whole MiB.
pub(super) const SEGMENT_BYTES_MIN: u64 = 32 << 20;
/// Most delay levels: the level's queue number must fit the parking topic's table.
const DELAY_LEVELS_MAX: usize = 64;

/// Old spellings of keys, as the key's present name.
pub(super) fn canonical_key(key: &str) -> &str {
    match key {
        "mapedFileSizeCommitLog" => "mappedFileSizeCommitLog",
        "mapedFileSizeConsumeQueue" => "mappedFileSizeConsumeQueue",
        other => other,
    }
}

fn bad(key: &str, value: &str, expected: &'static str) -> ValueError {
    ValueError { key: key.to_owned(), value: value.to_owned(), expected }
}

/// `flushDiskType`: what an answered send means (see ARCHITECTURE, durability).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushDiskType {
    /// Survives a killed broker at once, a killed machine after `flushIntervalCommitLog`.
    Async,
    /// On stable media.
    Sync,
}

impl SettingValue for FlushDiskType {
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        match value {
            "ASYNC_FLUSH" => Ok(Self::Async),
            "SYNC_FLUSH" => Ok(Self::Sync),
            _ => Err(bad(key, value, "ASYNC_FLUSH or SYNC_FLUSH")),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Async => "ASYNC_FLUSH".to_owned(),
            Self::Sync => "SYNC_FLUSH".to_owned(),
        }
    }
}

/// `brokerRole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerRole {
    /// Accepts writes, answers without waiting for slaves.
    AsyncMaster,
    /// Accepts writes, waits for a slave.
    SyncMaster,
    /// Copies a master.
    Slave,
}

impl SettingValue for BrokerRole {
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        match value {
            "ASYNC_MASTER" => Ok(Self::AsyncMaster),
            "SYNC_MASTER" => Ok(Self::SyncMaster),
            "SLAVE" => Ok(Self::Slave),
            _ => Err(bad(key, value, "ASYNC_MASTER, SYNC_MASTER or SLAVE")),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::AsyncMaster => "ASYNC_MASTER".to_owned(),
            Self::SyncMaster => "SYNC_MASTER".to_owned(),
            Self::Slave => "SLAVE".to_owned(),
        }
    }
}

/// `namesrvAddr`: addresses separated by `;`. Empty: the broker runs without name servers.
///
/// Numeric addresses and `localhost` are known at once; host names are looked up by [`NameServers::look_up`], which is
/// for the time before shards exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameServers(Vec<NameServer>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct NameServer {
    text: String,
    address: Option<SocketAddr>,
}

impl NameServers {
    /// `host:port` each, in the order given, without duplicates.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|server| server.text.as_str())
    }

    /// Those whose address is known.
    #[must_use]
    pub fn resolved(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|server| server.address).collect()
    }

    /// Looks host names up, blocking. The list says which have no address, and why.
    pub fn look_up(&mut self) -> Vec<(String, io::Error)> {
        let mut failed = Vec::new();
        for server in self.0.iter_mut().filter(|server| server.address.is_none()) {
            match server.text.to_socket_addrs().map(|mut addresses| addresses.next()) {
                Ok(Some(address)) => server.address = Some(address),
                Ok(None) => failed.push((server.text.clone(), io::Error::from(io::ErrorKind::NotFound))),
                Err(error) => failed.push((server.text.clone(), error)),
            }
        }
        failed
    }
}

fn known_address(text: &str, port: u16) -> Option<SocketAddr> {
    if text.rsplit_once(':').is_some_and(|(host, _)| host == "localhost") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().ok()
}

impl SettingValue for NameServers {
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        let mut list: Vec<NameServer> = Vec::new();
        for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let port = part.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
                return Err(bad(key, value, "host:port, several separated by ';',"));
            };
            if !list.iter().any(|known| known.text == part) {
                list.push(NameServer { text: part.to_owned(), address: known_address(part, port) });
            }
        }
        Ok(Self(list))
    }

    fn text(&self) -> String {
        self.texts().collect::<Vec<_>>().join(";")
    }
}

/// `deleteWhen`: hours of the day, separated by `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    text: String,
    /// One bit for each hour.
    hours: u32,
}

impl Hours {
    /// Whether an hour of the day (0 to 23) is one of them.
    #[must_use]
    pub fn contains(&self, hour: u8) -> bool {
        self.hours >> hour & 1 != 0
    }
}

impl SettingValue for Hours {
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        let hour = |part: &str| part.trim().parse::<u32>().ok().filter(|hour| *hour < 24);
        let mut hours = value.split(';').filter(|part| !part.trim().is_empty()).map(hour);
        let hours = hours.try_fold(0, |all, hour| Some(all | 1 << hour?));
        let hours = hours.filter(|hours| *hours != 0);
        let hours =
            hours.ok_or_else(|| bad(key, value, "hours of the day from 00 to 23, separated by ';',"))?;
        Ok(Self { text: value.to_owned(), hours })
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

/// `messageDelayLevel`: how long a message of each level waits. Levels count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels {
    text: String,
    levels: Vec<Duration>,
}

impl DelayLevels {
    /// Number of levels.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.levels.len()).expect("at most DELAY_LEVELS_MAX")
    }

    /// Delay of a level; levels above the highest count as the highest, as in RocketMQ. `None` for level 0 and below.
    #[must_use]
    pub fn delay(&self, level: i32) -> Option<Duration> {
        let level = usize::try_from(level).ok()?.checked_sub(1)?;
        self.levels.get(level.min(self.levels.len() - 1)).copied()
    }
}

impl SettingValue for DelayLevels {
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        let error = || bad(key, value, "1 to 64 delays like 10s 5m 2h 1d, separated by blanks,");
        let level = |part: &str| {
            let unit = match part.chars().last()? {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            let count: u32 = part[..part.len() - 1].parse().ok()?;
            Some(Duration::from_secs(u64::from(count) * unit))
        };
        let levels: Vec<Duration> =
            value.split_whitespace().map(level).collect::<Option<_>>().ok_or_else(error)?;
        if levels.is_empty() || levels.len() > DELAY_LEVELS_MAX {
            return Err(error());
        }
        Ok(Self { text: value.to_owned(), levels })
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_levels_clamp_at_the_highest() {
        let levels = DelayLevels::read("k", "1s 5s 2m 1h 1d").expect("valid");
        assert_eq!(levels.delay(1), Some(Duration::from_secs(1)));
        assert_eq!(levels.delay(3), Some(Duration::from_secs(120)));
        assert_eq!(levels.delay(99), Some(Duration::from_secs(86_400)));
        assert_eq!(levels.delay(0), None);
        assert_eq!(levels.delay(-1), None);
        for wrong in ["", "5", "s", "1w", "1s x"] {
            assert!(DelayLevels::read("k", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn hours_are_a_list() {
        let hours = Hours::read("k", "04;16; 23").expect("valid");
        let all: Vec<u8> = (0..24).filter(|hour| hours.contains(*hour)).collect();
        assert_eq!((all, hours.text()), (vec![4, 16, 23], "04;16; 23".to_owned()));
        for wrong in ["", ";", "24", "4,5", "x"] {
            assert!(Hours::read("k", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn name_servers_are_a_list_without_duplicates() {
        let list = NameServers::read("k", " a:1 ;b:2;;a:1; [::1]:3").expect("valid");
        assert_eq!(list.texts().collect::<Vec<_>>(), ["a:1", "b:2", "[::1]:3"]);
        assert_eq!(list.resolved().len(), 1);
        let list = NameServers::read("k", "localhost:5;10.0.0.1:6").expect("valid");
        let addresses: Vec<String> = list.resolved().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:5", "10.0.0.1:6"]);
        assert_eq!(NameServers::read("k", "").expect("empty is allowed").texts().count(), 0);
        assert!(NameServers::read("k", "host").is_err());
        assert!(NameServers::read("k", ":9876").is_err());
    }
}
