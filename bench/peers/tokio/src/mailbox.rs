//! A channel for one value at a time, from one task to another: what skua-bench has, step by step,
//! so that its users measure the runtime and not a channel. Tokio's mpsc could do more, and is slower.

use std::cell::UnsafeCell;
use std::future::poll_fn;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

/// FREE and FULL say whether there is a value; somebody waits for it to change: BLOCKED. Only one
/// side can ever wait, the one that cannot go on.
const FREE: u32 = 0;
const FULL: u32 = 1;
const FREE_BLOCKED: u32 = 2;
const FULL_BLOCKED: u32 = 3;

#[repr(C)]
pub struct Mailbox {
    state: AtomicU32,
    value: UnsafeCell<u64>,
    waiting: UnsafeCell<Option<Waker>>,
}

// SAFETY: the value belongs to the side that the state names; the waker to the side that waits
// until the state says BLOCKED, and then to the one that changes it.
unsafe impl Sync for Mailbox {}
unsafe impl Send for Mailbox {}

impl Mailbox {
    pub const fn new() -> Mailbox {
        Mailbox {
            state: AtomicU32::new(FREE),
            value: UnsafeCell::new(0),
            waiting: UnsafeCell::new(None),
        }
    }

    /// Before any task uses it: puts a value in, or takes it out.
    pub fn set(&self, value: Option<u64>) {
        // SAFETY: nobody else uses it.
        unsafe { *self.value.get() = value.unwrap_or(0) };
        self.state
            .store(if value.is_some() { FULL } else { FREE }, Release);
    }

    /// Whether nobody waits for it and nothing is in it.
    pub fn is_free(&self) -> bool {
        self.state.load(Acquire) == FREE
    }

    /// When no task uses it any more: the value that was put in last.
    pub fn last(&self) -> u64 {
        // SAFETY: nobody else uses it.
        unsafe { *self.value.get() }
    }

    /// Waits for the state to change: either it has, or the waker is left.
    fn block(&self, cx: &Context<'_>, state: u32, blocked: u32) -> bool {
        // SAFETY: the state is not BLOCKED, and only this side can make it so.
        unsafe { *self.waiting.get() = Some(cx.waker().clone()) };
        let left = self
            .state
            .compare_exchange(state, blocked, Release, Relaxed)
            .is_ok();
        if !left {
            // SAFETY: as above.
            unsafe { *self.waiting.get() = None };
        }
        left
    }

    /// Changes the state, and wakes whoever waited for that.
    fn change(&self, state: u32, blocked: u32) {
        if self.state.swap(state, AcqRel) == blocked {
            // SAFETY: the other side has left it, and is not there until it is woken.
            let waker = unsafe { (*self.waiting.get()).take() };
            waker.expect("a waker").wake();
        }
    }

    fn poll_send(&self, cx: &Context<'_>, value: u64) -> Poll<()> {
        let state = self.state.load(Acquire);
        if state == FULL_BLOCKED || (state == FULL && self.block(cx, FULL, FULL_BLOCKED)) {
            return Poll::Pending;
        }
        // SAFETY: it is free, and only this side fills it.
        unsafe { *self.value.get() = value };
        self.change(FULL, FREE_BLOCKED);
        Poll::Ready(())
    }

    pub fn poll_receive(&self, cx: &Context<'_>) -> Poll<u64> {
        let state = self.state.load(Acquire);
        if state == FREE_BLOCKED || (state == FREE && self.block(cx, FREE, FREE_BLOCKED)) {
            return Poll::Pending;
        }
        // SAFETY: it is full, and only this side empties it.
        let value = unsafe { *self.value.get() };
        self.change(FREE, FULL_BLOCKED);
        Poll::Ready(value)
    }

    /// Takes back the waker of a receiver that will not be polled again, unless it has been woken.
    pub fn stop_receiving(&self) {
        if self.state.load(Relaxed) == FREE_BLOCKED
            && self
                .state
                .compare_exchange(FREE_BLOCKED, FREE, Relaxed, Relaxed)
                .is_ok()
        {
            // SAFETY: it is this side's own, and nobody has taken it.
            unsafe { *self.waiting.get() = None };
        }
    }

    pub async fn send(&self, value: u64) {
        poll_fn(|cx| self.poll_send(cx, value)).await
    }

    pub async fn receive(&self) -> u64 {
        poll_fn(|cx| self.poll_receive(cx)).await
    }
}
