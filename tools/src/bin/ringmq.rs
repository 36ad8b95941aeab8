//! Placeholder until the first build of `ringmq`.
fn main() {}
