//! Sending: everything that collected on a connection during a turn goes out with one vectored send.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use io_uring::{opcode, squeue, types};

use super::{Phase, id_of};
use crate::outbox::{OUTBOX_HIGH_BYTES, OUTBOX_LOW_BYTES};
use crate::uring::core::{Core, Notice};
use crate::uring::limits::SEND_SLICES_MAX;
use crate::uring::operation::{Kind, UserData};
use crate::uring::ring::Completion;
use crate::{CloseCause, ConnectionId, Outbox};

/// The send in flight of a connection, or what a short one left over.
pub(super) struct Sending {
    /// Held until their bytes have been taken by the kernel.
    slices: VecDeque<Bytes>,
    bytes: usize,
    in_flight: bool,
    /// Describe `slices` to the kernel while in flight.
    ranges: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            slices: VecDeque::new(),
            bytes: 0,
            in_flight: false,
            ranges: Vec::new(),
            // SAFETY: a msghdr is integers and pointers; all zeros means "no name, no slices, no control data".
            header: unsafe { std::mem::zeroed() },
        }
    }
}

impl Sending {
    pub(super) fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Bytes not yet taken by the kernel.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        assert!(!self.in_flight, "slices of a send in flight");
        self.slices.clear();
        self.bytes = 0;
    }

    fn fill(&mut self, outbox: &mut Outbox) {
        let before = outbox.pending_bytes();
        outbox.take(SEND_SLICES_MAX - self.slices.len(), &mut self.slices);
        self.bytes += before - outbox.pending_bytes();
    }

    /// The entry that sends all slices. It points into `self` (boxed in its connection) and into the slices.
    fn entry(&mut self, descriptor: types::Fd) -> squeue::Entry {
        let flags = libc::MSG_NOSIGNAL;
        if let [only] = self.slices.make_contiguous() {
            let bytes = u32::try_from(only.len()).unwrap_or(u32::MAX);
            return opcode::Send::new(descriptor, only.as_ptr(), bytes).flags(flags).build();
        }
        self.ranges.clear();
        self.ranges.extend(
            self.slices.iter().map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            }),
        );
        self.header.msg_iov = self.ranges.as_mut_ptr();
        self.header.msg_iovlen = self.ranges.len() as _;
        opcode::SendMsg::new(descriptor, &raw const self.header).flags(flags as u32).build()
    }

    /// The kernel has taken the first `bytes`.
    fn advance(&mut self, mut bytes: usize) {
        self.bytes = self.bytes.checked_sub(bytes).expect("more sent than asked for");
        while bytes > 0 {
            let first = self.slices.front_mut().expect("sent bytes belong to a slice");
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.slices.pop_front();
        }
    }
}

impl Core {
    pub(in crate::uring) fn outbox(&mut self, id: ConnectionId) -> Option<&mut Outbox> {
        let net = &mut self.net;
        let slot = net.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let connection = slot.connection.as_deref_mut()?;
        if connection.phase != Phase::Open {
            return None;
        }
        if !connection.dirty {
            connection.dirty = true;
            net.dirty.push(id.index);
        }
        Some(&mut connection.outbox)
    }

    pub(in crate::uring) fn unsent_bytes(&self, id: ConnectionId) -> usize {
        self.net.get(id).map_or(0, super::Connection::unsent_bytes)
    }

    /// Starts a send on every connection that has something to send and none in flight. At the end of a turn, but not
    /// while mail waits for room (see `mailbox`).
    pub(in crate::uring) fn flush(&mut self) {
        // Taken out and put back so that its memory is kept.
        let mut dirty = std::mem::take(&mut self.net.dirty);
        for index in dirty.drain(..) {
            let slot = &mut self.net.slots[index as usize];
            // A connection that ended meanwhile leaves its index behind; a look at the slot's next user does no harm.
            let Some(connection) = slot.connection.as_deref_mut() else { continue };
            connection.dirty = false;
            if connection.unsent_bytes() > OUTBOX_HIGH_BYTES {
                connection.slow = true;
            }
            if connection.sending.in_flight || !matches!(connection.phase, Phase::Open | Phase::Flushing) {
                continue;
            }
            let descriptor = types::Fd(connection.descriptor());
            let sending = &mut *connection.sending;
            sending.fill(&mut connection.outbox);
            if sending.slices.is_empty() {
                continue;
            }
            let entry = sending.entry(descriptor);
            sending.in_flight = true;
            self.stats.sends += 1;
            let data = UserData::new(Kind::Send, index, slot.generation);
            // SAFETY: header, ranges and slices belong to the boxed `Sending`, which changes only in `on_send`, after
            // this operation's completion; its connection, with the socket, is removed only when nothing is in flight.
            unsafe { self.ring.submit(entry, data) };
        }
        self.net.dirty = dirty;
    }

    pub(in crate::uring) fn on_send(&mut self, completion: Completion) -> Option<Notice> {
        let id = id_of(completion.data);
        let connection = self.net.get_mut(id).expect("a connection outlives its operations");
        connection.sending.in_flight = false;
        if connection.phase == Phase::Ending {
            connection.sending.clear();
            return self.ended(id);
        }
        match completion.value() {
            Ok(bytes) => {
                self.stats.sent_bytes += u64::from(bytes);
                connection.sending.advance(bytes as usize);
                let unsent = connection.unsent_bytes();
                let flushing = connection.phase == Phase::Flushing;
                let drained = connection.slow && unsent <= OUTBOX_LOW_BYTES;
                if drained {
                    connection.slow = false;
                }
                if unsent > 0 && !std::mem::replace(&mut connection.dirty, true) {
                    self.net.dirty.push(id.index);
                }
                if flushing {
                    return self.flushed(id);
                }
                drained.then_some(Notice::Drained(id))
            }
            Err(error) => {
                connection.sending.clear();
                self.end(id, CloseCause::Failed(error))
            }
        }
    }
}
