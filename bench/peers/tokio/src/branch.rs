//! What select and timeout are put around: operations that are alike in all programs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::mailbox::Mailbox;

/// Wakes its task at the first poll, and has a value at the second.
pub struct GiveWay {
    value: u64,
    polled: bool,
}

impl GiveWay {
    pub fn new(value: u64) -> GiveWay {
        GiveWay {
            value,
            polled: false,
        }
    }
}

impl Future for GiveWay {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        if self.polled {
            return Poll::Ready(self.value);
        }
        self.polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One branch of a select: gives way once, or waits for a mailbox that nobody fills.
pub enum Branch<'a> {
    Winner(GiveWay),
    Loser(&'a Mailbox),
}

impl Future for Branch<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        match &mut *self {
            Branch::Winner(operation) => Pin::new(operation).poll(cx),
            Branch::Loser(mailbox) => mailbox.poll_receive(cx),
        }
    }
}

/// A cancelled receiver takes its waker back.
impl Drop for Branch<'_> {
    fn drop(&mut self) {
        if let Branch::Loser(mailbox) = self {
            mailbox.stop_receiving();
        }
    }
}
