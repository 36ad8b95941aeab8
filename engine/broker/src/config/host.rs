//! What a configuration needs to know of the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use jiff::tz::TimeZone;

/// Facts gathered once, before any shard exists.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Default of `brokerName`.
    pub host_name: String,
    /// Default of `brokerIP1`.
    pub address: IpAddr,
    /// Environment `NAMESRV_ADDR`: default of `namesrvAddr`.
    pub name_servers: Option<String>,
    /// Environment `ROCKETMQ_HOME`.
    pub rocketmq_home: Option<String>,
    /// Default of `storePathRootDir`.
    pub store_root: PathBuf,
    /// Processors this process may run on: default of `shards`.
    pub processors: u16,
    /// Of the machine (`TZ`, `/etc/localtime`); UTC if it does not say.
    pub time_zone: TimeZone,
}

impl HostFacts {
    /// Asks the machine.
    #[must_use]
    pub fn gather() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let host_name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "DEFAULT_BROKER".to_owned());
        let home = variable("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            host_name,
            address: first_address(),
            name_servers: variable("NAMESRV_ADDR"),
            rocketmq_home: variable("ROCKETMQ_HOME"),
            store_root: home.join("store"),
            time_zone: TimeZone::system(),
            processors: u16::try_from(processors).unwrap_or(1).clamp(super::SHARDS_MIN, super::SHARDS_MAX),
        }
    }

    /// Fixed facts for tests and simulations.
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            host_name: "test-host".to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            name_servers: Some("10.1.1.1:9876".to_owned()),
            rocketmq_home: None,
            store_root: PathBuf::from("/store"),
            processors: 2,
            time_zone: TimeZone::UTC,
        }
    }
}

/// The first address of this machine that other machines can use: IPv4 that is neither loopback nor link-local
/// before IPv6, loopback only when there is nothing else.
#[must_use]
pub fn first_address() -> IpAddr {
    let addresses = nix::ifaddrs::getifaddrs().map(|all| {
        all.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect::<Vec<_>>()
    });
    best_of(&addresses.unwrap_or_default())
}

fn best_of(addresses: &[IpAddr]) -> IpAddr {
    let rank = |address: &&IpAddr| match address {
        IpAddr::V4(v4) if v4.is_loopback() => 3,
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => 4,
        IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80 => 5,
        IpAddr::V6(_) => 1,
    };
    let usable = |address: &&IpAddr| !matches!(address, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    addresses.iter().filter(usable).min_by_key(rank).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reachable_ipv4_address_comes_first() {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().expect("address")).collect::<Vec<IpAddr>>();
        let all =
            parse(&["127.0.0.1", "::1", "fe80::1", "2001:db8::1", "169.254.1.1", "10.2.3.4", "10.2.3.5"]);
        assert_eq!(best_of(&all).to_string(), "10.2.3.4");
        assert_eq!(best_of(&all[..4]).to_string(), "2001:db8::1");
        assert_eq!(best_of(&all[..2]).to_string(), "127.0.0.1");
        assert_eq!(best_of(&[]).to_string(), "127.0.0.1");
    }
}
