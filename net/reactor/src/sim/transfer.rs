//! How bytes travel: outbox → send in flight → socket and wire → the receiver's turn. In order and without loss while both ends live;
//! in pieces of any size; not at all while the way is cut, the receiver paused or its host without power.

use std::io;

use bytes::{Bytes, BytesMut};

use super::core::{Completion, Core, Due, ShardKey};
use super::net::{End, EndState};
use crate::outbox::{OUTBOX_HIGH_BYTES, OUTBOX_LOW_BYTES};
use crate::{CloseCause, ConnectionId};

/// As the kernel driver's.
const SEND_SLICES_MAX: usize = 128;
/// As the kernel driver's receive buffers.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Longest of the pieces that fragmentation makes.
const FRAGMENT_BYTES_MAX: u64 = 96;
/// TCP tries again after this at the latest (in earnest it doubles up to two minutes; runs would only be longer for it).
const RETRANSMIT: u64 = 1_000_000_000;

/// Fills the socket from the send in flight and, when that is done, from the outbox.
pub(super) fn move_to_wire(end: &mut End, socket_bytes: usize) {
    loop {
        if end.sending.is_empty() {
            end.outbox.take(SEND_SLICES_MAX, &mut end.sending);
            end.sending_bytes = end.sending.iter().map(Bytes::len).sum();
            if end.sending.is_empty() {
                return;
            }
        }
        while let Some(part) = end.sending.front_mut() {
            let room = socket_bytes.saturating_sub(end.wire_bytes);
            if room == 0 {
                return;
            }
            let taken = part.split_to(part.len().min(room));
            end.sending_bytes -= taken.len();
            end.wire_bytes += taken.len();
            end.wire.push_back(taken);
            if part.is_empty() {
                end.sending.pop_front();
            }
        }
    }
}

impl Core {
    /// End of a turn: what was put into outboxes goes out.
    pub(super) fn flush_dirty(&mut self, key: ShardKey) {
        let mut dirty = std::mem::take(&mut self.shard(key).dirty);
        for id in dirty.drain(..) {
            if let Some((number, side)) = self.link(key, id) {
                if let Some(connection) = self.net.connections.get_mut(&number) {
                    let end = &mut connection.ends[side as usize];
                    end.over_high |= end.outbox.pending_bytes() + end.sending_bytes > OUTBOX_HIGH_BYTES;
                }
                self.pump(number, side);
            }
        }
        // Keeps the allocation.
        self.shard(key).dirty = dirty;
    }

    fn pump(&mut self, number: u64, side: u8) {
        let socket_bytes = self.options.socket_bytes;
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let end = &mut connection.ends[side as usize];
        move_to_wire(end, socket_bytes);
        let unsent = end.sending_bytes + end.outbox.pending_bytes();
        let (shard, id, state) = (end.shard, end.id, end.state);
        if end.over_high && unsent < OUTBOX_LOW_BYTES {
            end.over_high = false;
            if state == EndState::Open {
                self.complete(shard, Completion::Drained { connection: id });
            }
        }
        if state == EndState::Closing && unsent == 0 {
            self.close_end(number, side);
        } else {
            self.deliver_soon(number, side);
        }
    }

    /// Schedules the next piece from that end, if there is anything to be delivered.
    pub(super) fn deliver_soon(&mut self, number: u64, from: u8) {
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let to_host = connection.ends[1 - from as usize].host;
        let end = &mut connection.ends[from as usize];
        if end.delivery_due || end.stuck_since.is_some() || (end.wire_bytes == 0 && !end.fin) {
            return;
        }
        end.delivery_due = true;
        let from_host = end.host;
        let delay = self.way(from_host, to_host);
        self.schedule_in(delay, Due::Deliver { connection: number, from });
    }

    pub(super) fn deliver(&mut self, number: u64, from: u8) {
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let [first, second] = &mut connection.ends;
        let (sender, receiver) = if from == 0 { (first, second) } else { (second, first) };
        sender.delivery_due = false;
        let (from_host, to_host) = (sender.host, receiver.host);
        if !self.net.cuts.is_empty() && self.net.cuts.contains(&(from_host, to_host))
            || !self.hosts[from_host as usize].up
            || !self.hosts[to_host as usize].up
        {
            return self.stuck(number, from);
        }
        sender.stuck_since = None;
        match receiver.state {
            // Goes on with the answer to the client's SYN.
            EndState::Opening => {}
            EndState::Lost => {
                // The host lives again and knows nothing of the connection.
                if sender.state == EndState::Gone {
                    self.net.connections.remove(&number);
                } else {
                    self.send_reset(number, from);
                }
            }
            EndState::Gone => {
                // Bytes for a socket that is closed are answered by a reset; the end of the stream is what it waits for.
                let unread = sender.wire_bytes > 0;
                sender.wire.clear();
                sender.wire_bytes = 0;
                if unread {
                    self.send_reset(number, from);
                }
            }
            // The service has closed: nobody reads.
            EndState::Closing => {
                sender.wire.clear();
                sender.wire_bytes = 0;
                if sender.fin {
                    self.close_end(number, 1 - from);
                } else {
                    self.pump(number, from);
                }
            }
            EndState::Open if sender.wire_bytes > 0 => {
                if !receiver.receiving {
                    // Goes on when the service resumes.
                    return;
                }
                let limit = if self.rng.one_in(self.options.fragment_one_in) {
                    self.rng.between(1, FRAGMENT_BYTES_MAX) as usize
                } else {
                    RECEIVE_BUFFER_BYTES
                };
                let bytes = take_piece(sender, limit);
                let (shard, id) = (receiver.shard, receiver.id);
                self.complete(shard, Completion::Received { connection: id, bytes });
                self.pump(number, from);
            }
            EndState::Open if sender.fin => {
                let (shard, id) = (receiver.shard, receiver.id);
                self.complete(shard, Completion::Closed { connection: id, cause: CloseCause::Peer });
                self.end_gone(number, 1 - from);
            }
            EndState::Open => {}
        }
    }

    /// The way is cut or the other host is down: try again until it is time to give up.
    fn stuck(&mut self, number: u64, from: u8) {
        let again = self.rng.between(RETRANSMIT / 5, RETRANSMIT);
        let (now, patience) = (self.now, self.options.retransmit_timeout.as_nanos() as u64);
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let end = &mut connection.ends[from as usize];
        end.delivery_due = true;
        if end.stuck_since.is_none() {
            end.stuck_since = Some(now);
            self.schedule_in(patience, Due::RetransmitTimeout { connection: number, from, since: now });
        }
        self.schedule_in(again, Due::Deliver { connection: number, from });
    }

    pub(super) fn retransmit_timeout(&mut self, number: u64, from: u8, since: u64) {
        let Some(connection) = self.net.connections.get(&number) else { return };
        let end = &connection.ends[from as usize];
        if end.stuck_since != Some(since) {
            return;
        }
        if end.state == EndState::Gone {
            // Its service left long ago; the kernel gives up for it.
            let end =
                &mut self.net.connections.get_mut(&number).expect("looked up above").ends[from as usize];
            end.wire.clear();
            end.wire_bytes = 0;
            end.fin = false;
        } else {
            self.fail_end(number, from, io::ErrorKind::TimedOut);
        }
    }

    pub(super) fn set_receiving(&mut self, key: ShardKey, id: ConnectionId, receiving: bool) {
        let Some((number, side)) = self.link(key, id) else { return };
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        connection.ends[side as usize].receiving = receiving;
        if receiving {
            self.deliver_soon(number, 1 - side);
        }
    }

    /// What is under way from that end arrives only in part, as if packets behind some point were lost with the socket.
    pub(super) fn lose_part_of_wire(&mut self, number: u64, side: u8) {
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let end = &mut connection.ends[side as usize];
        let keep = self.rng.below(end.wire_bytes as u64 + 1) as usize;
        let kept = take_piece(end, keep);
        end.wire.clear();
        end.wire_bytes = kept.len();
        if !kept.is_empty() {
            end.wire.push_back(kept);
        }
        end.fin = false;
        self.deliver_soon(number, side);
    }
}

/// Up to `limit` bytes from the front of the wire.
fn take_piece(end: &mut End, limit: usize) -> Bytes {
    let parts = end.wire.len();
    let Some(front) = end.wire.front_mut() else { return Bytes::new() };
    let bytes = if front.len() >= limit {
        front.split_to(limit)
    } else if parts == 1 {
        std::mem::take(front)
    } else {
        let mut gathered = BytesMut::with_capacity(limit.min(end.wire_bytes));
        while let Some(part) = end.wire.front_mut() {
            let taken = part.split_to(part.len().min(limit - gathered.len()));
            gathered.extend_from_slice(&taken);
            if !part.is_empty() {
                break;
            }
            end.wire.pop_front();
        }
        gathered.freeze()
    };
    if end.wire.front().is_some_and(Bytes::is_empty) {
        end.wire.pop_front();
    }
    end.wire_bytes -= bytes.len();
    bytes
}
