//! Placeholder until the first build of `rmq-bench`.
fn main() {}
