//! The JSON dialect of the reference.
