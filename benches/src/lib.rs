//! RingMQ.
