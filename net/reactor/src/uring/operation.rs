//! What a submission carries through the kernel so that its completion finds its owner.
//!
//! ```text
//!   63      56 55                    24 23            0
//!  ┌──────────┬────────────────────────┬───────────────┐
//!  │ kind     │ generation             │ index         │
//!  └──────────┴────────────────────────┴───────────────┘
//! ```
//! A slot is reused only after its own last completion, so the generation is a check, not a need.

/// Bits of the slot number.
pub(super) const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 32;

/// Who a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nobody asks (cancellations).
    Ignored = 0,
    /// Another shard rang: there is mail.
    Doorbell,
    /// The event descriptor was written: look at the stop flag.
    Wake,
    /// Multishot accept; the index names the listener.
    Accept,
    /// Multishot receive of a connection.
    Receive,
    /// Send of a connection.
    Send,
    /// Connect of a connection.
    Connect,
    /// File operation.
    File,
    /// Our ringing of another shard's doorbell failed; the index names the shard.
    Ringing,
}

/// The 64 bits that travel with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserData(pub u64);

impl UserData {
    pub(super) const fn new(kind: Kind, index: u32, generation: u32) -> Self {
        assert!(index < 1 << INDEX_BITS, "index exceeds its bits");
        Self(
            (kind as u64) << (INDEX_BITS + GENERATION_BITS)
                | (generation as u64) << INDEX_BITS
                | index as u64,
        )
    }

    pub(super) fn kind(self) -> Kind {
        match self.0 >> (INDEX_BITS + GENERATION_BITS) {
            1 => Kind::Doorbell,
            2 => Kind::Wake,
            3 => Kind::Accept,
            4 => Kind::Receive,
            5 => Kind::Send,
            6 => Kind::Connect,
            7 => Kind::File,
            8 => Kind::Ringing,
            _ => Kind::Ignored,
        }
    }

    pub(super) const fn index(self) -> u32 {
        (self.0 & ((1 << INDEX_BITS) - 1)) as u32
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_way_through_the_kernel() {
        for kind in [
            Kind::Ignored,
            Kind::Doorbell,
            Kind::Wake,
            Kind::Accept,
            Kind::Receive,
            Kind::Send,
            Kind::Connect,
            Kind::File,
            Kind::Ringing,
        ] {
            let data = UserData::new(kind, (1 << INDEX_BITS) - 1, u32::MAX);
            assert_eq!(
                (data.kind(), data.index(), data.generation()),
                (kind, (1 << INDEX_BITS) - 1, u32::MAX)
            );
            let data = UserData::new(kind, 7, 9);
            assert_eq!((data.kind(), data.index(), data.generation()), (kind, 7, 9));
        }
    }
}
