//! Placeholder until the first build of `mqadmin`.
fn main() {}
