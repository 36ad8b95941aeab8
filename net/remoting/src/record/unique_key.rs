//! `UNIQ_KEY` for messages that come without one.

use std::net::IpAddr;

use super::hex;

/// Counter values per key prefix and millisecond.
const COUNTER_BYTES: usize = 2;
const TIME_BYTES: usize = 4;

/// Makes unique keys in the clients' form: upper-case hex of address (4 or 16 bytes), process id (2), a
/// discriminator (4), ms since the start of the month (4), counter (2). One per shard: the discriminator
/// keeps the makers of a process apart, the counter the keys of a millisecond (65,536 of them).
///
/// The month is taken in UTC, where Java clients take local time: only uniqueness is asked of the key.
#[derive(Debug, Clone)]
pub struct UniqueKeys {
    /// Hex of what does not change.
    prefix: String,
    counter: u16,
}

impl UniqueKeys {
    /// `address`: of this broker; `process`: its process id, of which the lower 16 bits are used;
    /// `discriminator`: differs between the makers of a process and between its starts.
    pub fn new(address: IpAddr, process: u32, discriminator: u32) -> Self {
        let mut bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend_from_slice(&(process as u16).to_be_bytes());
        bytes.extend_from_slice(&discriminator.to_be_bytes());
        let mut prefix = vec![0; bytes.len() * 2];
        hex::write(&mut prefix, &bytes);
        UniqueKeys { prefix: String::from_utf8_lossy(&prefix).into_owned(), counter: 0 }
    }

    /// The next key at wall clock `now_ms` (ms since 1970).
    pub fn next(&mut self, now_ms: i64) -> String {
        let mut bytes = [0; TIME_BYTES + COUNTER_BYTES];
        bytes[..TIME_BYTES].copy_from_slice(&(ms_of_month(now_ms) as u32).to_be_bytes());
        bytes[TIME_BYTES..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        let mut digits = [0; 2 * (TIME_BYTES + COUNTER_BYTES)];
        hex::write(&mut digits, &bytes);
        let mut key = String::with_capacity(self.prefix.len() + digits.len());
        key.push_str(&self.prefix);
        key.extend(digits.iter().map(|digit| *digit as char));
        key
    }
}

/// Milliseconds since the start of the month, UTC; below 2^32 as a month has at most 2,678,400,000.
fn ms_of_month(now_ms: i64) -> i64 {
    const DAY_MS: i64 = 86_400_000;
    let day = now_ms.div_euclid(DAY_MS);
    // Days counted from 1 March 0000, where leap days come last: the months of such a year start at (153 m +
    // 2) / 5.
    let shifted = day + 719_468;
    let era_day = shifted.rem_euclid(146_097);
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let month = (5 * year_day + 2) / 153;
    let day_of_month = year_day - (153 * month + 2) / 5;
    day_of_month * DAY_MS + now_ms.rem_euclid(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_have_the_clients_length() {
        let mut keys = UniqueKeys::new("10.0.0.1".parse().expect("address"), 0x1_2345, 7);
        // 2023-11-14 22:13:20: 13 days and 80,000 seconds into the month, 0x47B76000 ms.
        let first = keys.next(1_700_000_000_000);
        assert_eq!(first, "0A00000123450000000747B760000000");
        assert_ne!(first, keys.next(1_700_000_000_000));
        let mut keys = UniqueKeys::new("::1".parse().expect("address"), 1, 7);
        assert_eq!(keys.next(0).len(), 56);
    }

    #[test]
    fn months_start_at_zero() {
        // 2024-02-29, 2024-03-01, 2023-12-31 and 2024-01-01, each at 00:00 UTC.
        for (start, days) in
            [(1_709_164_800, 28), (1_709_251_200, 0), (1_703_980_800, 30), (1_704_067_200, 0)]
        {
            assert_eq!(ms_of_month(start * 1000 + 5), days * 86_400_000 + 5);
        }
    }
}
