//! Typed JSON bodies.
