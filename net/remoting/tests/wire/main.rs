//! The wire format against recorded frames, against itself, and against hostile bytes.

mod golden;
mod hostile;
mod round_trip;
mod sessions;
