//! JSON bodies in the reference's dialect.
//!
//! Beyond "no panic": a text that was read, written and read again is the same value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq_remoting::body::{
    ConsumeStats, ConsumerOffsetTable, HeartbeatData, LockBatchRequest, RegisterBrokerBody,
    SubscriptionGroupWrapper, TopicConfigWrapper, TopicRouteData,
};
use ringmq_remoting::json::{self, Style, Writer};

fuzz_target!(|input: &[u8]| {
    if let Ok(value) = json::parse(input) {
        let written = json::to_text(&value);
        let again = json::parse(written.as_bytes()).expect("what was written");
        // Numbers too large for a double become null, so only the second round must stand still.
        assert_eq!(json::to_text(&again), written);
        assert!(Writer::text_of(&value, Style::Standard).is_ascii());
    }
    if let Ok(heartbeat) = HeartbeatData::from_json(input) {
        assert_eq!(HeartbeatData::from_json(heartbeat.to_json().as_bytes()), Ok(heartbeat));
    }
    if let Ok(table) = ConsumerOffsetTable::from_json(input) {
        assert_eq!(ConsumerOffsetTable::from_json(table.to_json().as_bytes()), Ok(table));
    }
    let _ = (TopicRouteData::from_json(input), TopicConfigWrapper::from_json(input));
    let _ = (SubscriptionGroupWrapper::from_json(input), LockBatchRequest::from_json(input));
    let _ = (ConsumeStats::from_json(input), RegisterBrokerBody::read(input, false, 479));
});
