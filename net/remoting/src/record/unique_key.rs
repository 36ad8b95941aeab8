//! `UNIQ_KEY` for messages that come without one.

use std::net::IpAddr;

/// Makes unique keys in the clients' form. One per shard: the `discriminator` keeps the shards of a process apart.
#[derive(Debug, Clone)]
pub struct UniqueKeys {
    prefix: String,
    counter: u16,
}

impl UniqueKeys {
    /// `address`: of this broker; `process`: process id; `discriminator`: differs between the makers of a process.
    pub fn new(address: IpAddr, process: u32, discriminator: u32) -> Self {
        let _ = (address, process, discriminator);
        UniqueKeys { prefix: String::new(), counter: 0 }
    }

    /// The next key at wall clock `now_ms` (ms since 1970).
    pub fn next(&mut self, now_ms: i64) -> String {
        let _ = (now_ms, self.counter);
        self.prefix.clone()
    }
}
