//! The changes of a table on their way to the metadata journal, and the version that clients and name servers see.
//!
//! Every change gives its table the next version. As with the entries ([`super::table`]), that is *staged* first: it is seen when the
//! journal says that it is durable, and forgotten when the journal refuses.

use ringmq_remoting::body::DataVersion;

use crate::metadata::{Change, Table};

/// See the module's text.
#[derive(Debug, Default)]
pub struct StagedChanges {
    version: DataVersion,
    /// With everything staged.
    latest_version: DataVersion,
    /// To be taken to the journal, each change before the version that it gives.
    changes: Vec<Change>,
}

impl StagedChanges {
    /// The durable version.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.version
    }

    /// Adds a change of `table`.
    pub fn stage(&mut self, table: Table, change: Change, now_ms: u64) {
        self.changes.push(change);
        self.stage_version(table, now_ms);
    }

    /// Adds changes of `table` that have taken effect already. They come under one version, which takes effect at once, too.
    pub fn add_applied(&mut self, table: Table, changes: Vec<Change>, now_ms: u64) {
        self.changes.extend(changes);
        self.stage_version(table, now_ms);
        self.version = self.latest_version;
    }

    /// What was staged and not taken yet, to be appended to the journal at once.
    pub fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A version is durable, or was recovered.
    pub fn apply_version(&mut self, version: DataVersion) {
        self.version = version;
        if self.latest_version.counter < version.counter {
            self.latest_version = version;
        }
    }

    /// What was staged will never be.
    pub fn forget(&mut self) {
        self.latest_version = self.version;
        self.changes.clear();
    }

    fn stage_version(&mut self, table: Table, now_ms: u64) {
        self.latest_version = self.latest_version.next(i64::try_from(now_ms).unwrap_or(i64::MAX));
        self.changes.push(Change::Version(table, self.latest_version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(name: &str) -> Change {
        Change::Topic { name: name.to_owned(), config: None }
    }

    #[test]
    fn each_change_has_a_version_that_counts_when_it_is_durable() {
        let mut staged = StagedChanges::default();
        let start = staged.version();
        let (first, second) = (start.next(1), start.next(1).next(2));
        staged.stage(Table::Topics, gone("a"), 1);
        staged.stage(Table::Topics, gone("b"), 2);
        let version = |version| Change::Version(Table::Topics, version);
        assert_eq!(staged.take(), [gone("a"), version(first), gone("b"), version(second)]);
        assert_eq!((staged.version(), staged.take()), (start, Vec::new()));
        staged.apply_version(first);
        // The next one builds on what is staged, not on what is durable.
        staged.stage(Table::Topics, gone("c"), 3);
        assert_eq!((staged.version(), staged.take().pop()), (first, Some(version(second.next(3)))));
    }

    #[test]
    fn a_forgotten_version_is_given_again() {
        let mut staged = StagedChanges::default();
        staged.apply_version(DataVersion::default().next(5));
        let durable = staged.version();
        staged.stage(Table::Groups, gone("a"), 6);
        staged.forget();
        assert!(staged.take().is_empty());
        staged.add_applied(Table::Groups, vec![gone("b"), gone("c")], 7);
        assert_eq!(staged.version(), durable.next(7));
        assert_eq!(staged.take(), [gone("b"), gone("c"), Change::Version(Table::Groups, durable.next(7))]);
    }
}
