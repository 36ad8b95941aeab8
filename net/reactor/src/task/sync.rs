//! How the synchronous part of a service and its tasks wait for each other. All local to one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Tells waiting tasks that something changed. A notice with nobody waiting is kept, once, for the next who waits.
#[derive(Clone, Default)]
pub struct Notify {
    shared: Rc<RefCell<NotifyState>>,
}

#[derive(Default)]
struct NotifyState {
    permit: bool,
    next_waiter: u64,
    /// In the order of arrival.
    waiters: BTreeMap<u64, Waiter>,
}

enum Waiter {
    Waiting(Waker),
    Notified,
}

impl Notify {
    /// Nobody waits, nothing is kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the task that has waited longest, or lets the next one that waits go on at once.
    pub fn notify_one(&self) {
        let mut shared = self.shared.borrow_mut();
        for waiter in shared.waiters.values_mut() {
            if matches!(waiter, Waiter::Waiting(_)) {
                let Waiter::Waiting(waker) = std::mem::replace(waiter, Waiter::Notified) else {
                    unreachable!()
                };
                waker.wake();
                return;
            }
        }
        shared.permit = true;
    }

    /// Wakes every task that waits now; keeps nothing for later ones.
    pub fn notify_all(&self) {
        for waiter in self.shared.borrow_mut().waiters.values_mut() {
            if let Waiter::Waiting(waker) = std::mem::replace(waiter, Waiter::Notified) {
                waker.wake();
            }
        }
    }

    /// Waits for a notice (none is needed if one was kept).
    pub fn notified(&self) -> Notified {
        Notified { shared: Rc::clone(&self.shared), waiter: None }
    }
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notify")
    }
}

/// See [`Notify::notified`]. A dropped waiter passes a notice that it had been given to the next.
pub struct Notified {
    shared: Rc<RefCell<NotifyState>>,
    waiter: Option<u64>,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Rc::clone(&self.shared);
        let mut shared = shared.borrow_mut();
        match self.waiter {
            None if shared.permit => {
                shared.permit = false;
                Poll::Ready(())
            }
            None => {
                let id = shared.next_waiter;
                shared.next_waiter += 1;
                shared.waiters.insert(id, Waiter::Waiting(cx.waker().clone()));
                self.waiter = Some(id);
                Poll::Pending
            }
            Some(id) => match shared.waiters.get_mut(&id) {
                Some(Waiter::Waiting(waker)) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                Some(Waiter::Notified) | None => {
                    shared.waiters.remove(&id);
                    self.waiter = None;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let Some(id) = self.waiter.take() else { return };
        let removed = self.shared.borrow_mut().waiters.remove(&id);
        if matches!(removed, Some(Waiter::Notified)) {
            Notify { shared: Rc::clone(&self.shared) }.notify_one();
        }
    }
}

/// The sending half was dropped without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody will send")]
pub struct SenderDropped;

struct OneshotState<T> {
    value: Option<T>,
    sender_gone: bool,
    receiver_gone: bool,
    waker: Option<Waker>,
}

/// A value to be given once, from the synchronous part to a task or between tasks.
#[must_use]
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Rc::new(RefCell::new(OneshotState {
        value: None,
        sender_gone: false,
        receiver_gone: false,
        waker: None,
    }));
    (OneshotSender { shared: Rc::clone(&shared) }, OneshotReceiver { shared })
}

/// Gives the value.
pub struct OneshotSender<T> {
    shared: Rc<RefCell<OneshotState<T>>>,
}

impl<T> OneshotSender<T> {
    /// Gives the value and wakes who waits.
    ///
    /// # Errors
    /// The value comes back when nobody waits any more.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut shared = self.shared.borrow_mut();
        if shared.receiver_gone {
            return Err(value);
        }
        shared.value = Some(value);
        Ok(())
        // Dropping `self` wakes the receiver.
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.borrow().receiver_gone
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.sender_gone = true;
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}

/// Waits for the value.
pub struct OneshotReceiver<T> {
    shared: Rc<RefCell<OneshotState<T>>>,
}

impl<T> OneshotReceiver<T> {
    /// The value, if it is there, without waiting.
    pub fn try_take(&mut self) -> Option<T> {
        self.shared.borrow_mut().value.take()
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, SenderDropped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.shared.borrow_mut();
        if let Some(value) = shared.value.take() {
            return Poll::Ready(Ok(value));
        }
        if shared.sender_gone {
            return Poll::Ready(Err(SenderDropped));
        }
        shared.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.receiver_gone = true;
        shared.value = None;
    }
}

impl<T> std::fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OneshotSender")
    }
}

impl<T> std::fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OneshotReceiver")
    }
}

impl std::fmt::Debug for Notified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notified")
    }
}
