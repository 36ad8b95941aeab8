//! Queues, as members and as keys of maps.

use crate::json::{FromJson, FromKey, JsonError, ToJson, ToKey, Value, Writer};

beans! {
    /// A queue of a topic at a broker. Maps have it as a key, in the form of an object.
    MessageQueue {
        /// Broker name.
        broker_name: String = "brokerName";
        /// Queue.
        queue_id: i32 = "queueId";
        /// Topic.
        topic: String = "topic";
    }
}

impl Eq for MessageQueue {}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MessageQueue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        fn order(queue: &MessageQueue) -> (&str, &str, i32) {
            (&queue.topic, &queue.broker_name, queue.queue_id)
        }
        order(self).cmp(&order(other))
    }
}

impl ToKey for MessageQueue {
    fn write_key(&self, out: &mut Writer) {
        self.write(out);
    }
}

impl FromKey for MessageQueue {
    fn read_key(value: &Value<'_>) -> Result<Self, JsonError> {
        MessageQueue::read(value)
    }
}
