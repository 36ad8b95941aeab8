//! Versions of configuration tables.

beans! {
    /// Version of a table: two are equal if all three numbers are.
    DataVersion {
        /// Changes so far.
        counter: i64 = "counter";
        /// Epoch of a master (controller mode), else 0.
        state_version: i64 = "stateVersion";
        /// Time of the last change, ms.
        timestamp: i64 = "timestamp";
    }
}

impl Copy for DataVersion {}
impl Eq for DataVersion {}

impl DataVersion {
    /// The version after a change at `now_ms`.
    #[must_use]
    pub fn next(self, now_ms: i64) -> DataVersion {
        DataVersion { counter: self.counter + 1, timestamp: now_ms, ..self }
    }
}
