//! Where the queues of an index lie: numbered places, used again.

use ringmq_reactor::prefetch;

use super::{Queue, QueueSlot};

/// Queues by [`QueueSlot`]. A slab whose places can be prefetched: their address is known without a look at them.
#[derive(Default)]
pub(super) struct Places {
    queues: Vec<Option<Queue>>,
    free: Vec<QueueSlot>,
}

impl Places {
    pub fn insert(&mut self, queue: Queue) -> QueueSlot {
        if let Some(slot) = self.free.pop() {
            self.queues[slot.0 as usize] = Some(queue);
            return slot;
        }
        let slot = QueueSlot(self.end());
        self.queues.push(Some(queue));
        slot
    }

    /// # Panics
    /// If the place is empty.
    pub fn remove(&mut self, slot: QueueSlot) -> Queue {
        let queue = self.queues[slot.0 as usize].take().expect("a queue in its place");
        self.free.push(slot);
        queue
    }

    /// # Panics
    /// As [`Places::remove`].
    pub fn at(&self, slot: QueueSlot) -> &Queue {
        self.queues[slot.0 as usize].as_ref().expect("a queue in its place")
    }

    /// # Panics
    /// As [`Places::remove`].
    pub fn at_mut(&mut self, slot: QueueSlot) -> &mut Queue {
        self.queues[slot.0 as usize].as_mut().expect("a queue in its place")
    }

    pub fn get(&self, slot: QueueSlot) -> Option<&Queue> {
        self.queues.get(slot.0 as usize)?.as_ref()
    }

    pub fn prefetch(&self, slot: QueueSlot) {
        if let Some(place) = self.queues.get(slot.0 as usize) {
            prefetch(place);
        }
    }

    /// Every place in use lies below this.
    pub fn end(&self) -> u32 {
        u32::try_from(self.queues.len()).expect("fewer than 2^32 queues")
    }

    /// Number of queues.
    pub fn len(&self) -> usize {
        self.queues.len() - self.free.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (QueueSlot, &Queue)> {
        let places = self.queues.iter().zip(0..);
        places.filter_map(|(queue, number)| Some((QueueSlot(number), queue.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.queues.iter_mut().flatten()
    }
}
