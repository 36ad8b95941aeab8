//! Receiving: one multishot receive per connection, buffers picked by the kernel.

use io_uring::{cqueue, opcode, types};

use super::{Phase, id_of};
use crate::uring::buffers;
use crate::uring::core::{Core, Notice};
use crate::uring::operation::{Kind, UserData};
use crate::uring::ring::Completion;
use crate::{CloseCause, ConnectionId};

/// What a receive completion means for the service.
pub(in crate::uring) enum Received {
    /// This many bytes in this buffer, for this connection.
    Bytes { connection: ConnectionId, buffer: u16, bytes: usize },
    /// Nothing to read, but perhaps a buffer to give back and something to tell.
    Other { buffer: Option<u16>, notice: Option<Notice> },
}

impl Core {
    pub(in crate::uring) fn set_receiving(&mut self, id: ConnectionId, receiving: bool) {
        let Some(connection) = self.net.get_mut(id) else { return };
        if connection.phase != Phase::Open || connection.receive.wanted == receiving {
            return;
        }
        connection.receive.wanted = receiving;
        if receiving {
            self.net.unarmed.push(id);
        } else if connection.receive.armed && !connection.receive.cancelling {
            connection.receive.cancelling = true;
            let target = UserData::new(Kind::Receive, id.index, id.generation);
            let entry = opcode::AsyncCancel::new(target.0).build();
            self.ring.submit_silent(entry, UserData::new(Kind::Ignored, 0, 0));
        }
    }

    /// Arms the receives that ended, or never began, and are wanted. After buffers have been given back.
    pub(in crate::uring) fn arm_receives(&mut self) {
        let mut unarmed = std::mem::take(&mut self.net.unarmed);
        for id in unarmed.drain(..) {
            let Some(connection) = self.net.get_mut(id) else { continue };
            let open = matches!(connection.phase, Phase::Open | Phase::Flushing | Phase::Lingering);
            let receive = &mut connection.receive;
            if !open || receive.armed || !receive.wanted || receive.ended {
                continue;
            }
            receive.armed = true;
            let entry = opcode::RecvMulti::new(types::Fd(connection.descriptor()), buffers::GROUP).build();
            // SAFETY: the entry refers to the receive buffers, which live as long as the ring, and to the socket, which
            // lives until the connection has nothing in flight.
            unsafe { self.ring.submit(entry, UserData::new(Kind::Receive, id.index, id.generation)) };
        }
        self.net.unarmed = unarmed;
    }

    pub(in crate::uring) fn on_receive(&mut self, completion: Completion) -> Received {
        let id = id_of(completion.data);
        let buffer = cqueue::buffer_select(completion.flags);
        let connection = self.net.get_mut(id).expect("a connection outlives its operations");
        if !completion.more() {
            connection.receive.armed = false;
            connection.receive.cancelling = false;
        }
        let rearm = !completion.more();
        let phase = connection.phase;
        if phase == Phase::Ending {
            return Received::Other { buffer, notice: self.ended(id) };
        }
        match completion.value() {
            Ok(0) => {
                connection.receive.ended = true;
                let notice = match phase {
                    // What we still have to say may yet be read: a peer can end its own side first.
                    Phase::Flushing => None,
                    _ => self.end(id, CloseCause::Peer),
                };
                Received::Other { buffer, notice }
            }
            Ok(bytes) => {
                self.stats.receives += 1;
                self.stats.received_bytes += u64::from(bytes);
                if rearm {
                    self.net.unarmed.push(id);
                }
                match buffer {
                    Some(buffer) if phase == Phase::Open => {
                        Received::Bytes { connection: id, buffer, bytes: bytes as usize }
                    }
                    _ => Received::Other { buffer, notice: None },
                }
            }
            Err(error) => {
                let notice = match error.raw_os_error() {
                    Some(libc::ENOBUFS) => {
                        self.stats.receive_starved += 1;
                        self.net.unarmed.push(id);
                        None
                    }
                    // Cancelled by `set_receiving`, which may have changed its mind since.
                    Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {
                        self.net.unarmed.push(id);
                        None
                    }
                    _ => self.end(id, CloseCause::Failed(error)),
                };
                Received::Other { buffer, notice }
            }
        }
    }
}
