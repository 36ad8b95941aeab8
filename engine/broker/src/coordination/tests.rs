//! Tests of the service on the simulator.
