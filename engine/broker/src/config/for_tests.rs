//! Switches for simulations: no key of a configuration reaches them, and they are off everywhere else.

/// Size of a store's parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoreScale {
    /// As configured.
    #[default]
    Full,
    /// Segments of 1 MiB and caches to match: segments roll, caches turn over and checkpoints move within simulated seconds.
    /// Records have at most 128 KiB.
    Small,
}

/// See the module's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForTests {
    /// Size of the store's parts.
    pub store_scale: StoreScale,
    /// Breaks the promise on purpose: sends are acknowledged before they are written. The simulation's proof that its oracle
    /// bites.
    pub acknowledge_early: bool,
}
