//! Settings of a broker.

/// Settings of a broker.
#[derive(Clone, Debug)]
pub struct BrokerConfig {}
