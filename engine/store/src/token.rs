//! Tokens: which of the store's operations a completion belongs to.

use ringmq_reactor::Token;

const KIND_SHIFT: u32 = 48;
const DETAIL_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Zero,
    Flush,
    Checkpoint,
    Prepare,
    ColdRead,
    KeyRead,
    IndexRun,
    IndexRead,
    IndexRemove,
    Space,
    Close,
    Remove,
    FlushTimer,
    ZeroTimer,
    PrepareTimer,
    RetentionTimer,
    IndexTimer,
    WriteTimer,
    RemoveMemory,
}

const KINDS: [Kind; 20] = [
    Kind::Write,
    Kind::Zero,
    Kind::Flush,
    Kind::Checkpoint,
    Kind::Prepare,
    Kind::ColdRead,
    Kind::KeyRead,
    Kind::IndexRun,
    Kind::IndexRead,
    Kind::IndexRemove,
    Kind::Space,
    Kind::Close,
    Kind::Remove,
    Kind::FlushTimer,
    Kind::ZeroTimer,
    Kind::PrepareTimer,
    Kind::RetentionTimer,
    Kind::IndexTimer,
    Kind::WriteTimer,
    Kind::RemoveMemory,
];

/// Makes tokens of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    pub owner: u8,
}

impl Tokens {
    /// A token for `kind`; `detail` (48 bits) comes back with it.
    pub fn of(self, kind: Kind, detail: u64) -> Token {
        assert!(detail <= DETAIL_MASK, "detail {detail} exceeds 48 bits");
        Token::new(self.owner, (kind as u64) << KIND_SHIFT | detail)
    }

    /// # Panics
    /// If the token is not one of this store's.
    pub fn read(self, token: Token) -> (Kind, u64) {
        assert_eq!(token.owner(), self.owner, "a completion of someone else");
        let kind = usize::try_from(token.value() >> KIND_SHIFT).expect("8 bits");
        (KINDS[kind], token.value() & DETAIL_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_operation() {
        let tokens = Tokens { owner: 7 };
        for kind in KINDS {
            assert_eq!(tokens.read(tokens.of(kind, DETAIL_MASK)), (kind, DETAIL_MASK));
        }
    }
}
