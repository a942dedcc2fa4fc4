//! Switching: yields, wakes between tasks that wait for each other, and a token in a ring.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::mailbox::Mailbox;
use crate::measure::Run;

pub const YIELDING_TASKS: u64 = 200;
pub const YIELDS: u64 = 1000;

pub fn yield_many(run: &mut Run) {
    let rt = run.runtime();
    let (done, all_done) = sync_channel(YIELDING_TASKS as usize);
    run.measure(|| {
        for _ in 0..YIELDING_TASKS {
            let done = done.clone();
            rt.spawn(async move {
                for _ in 0..YIELDS {
                    yield_now().await;
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..YIELDING_TASKS {
            all_done.recv().unwrap();
        }
    });
}

/// Pairs of tasks that send each other one message each way.
pub fn ping_pong(run: &mut Run) {
    let rt = run.runtime();
    let pings = run.operations as usize;
    let (done, all_done) = sync_channel(1000);
    let left = Arc::new(AtomicUsize::new(0));

    run.measure(|| {
        let done = done.clone();
        let left = left.clone();
        left.store(pings, Relaxed);
        rt.block_on(async {
            tokio::spawn(async move {
                for _ in 0..pings {
                    let done = done.clone();
                    let left = left.clone();
                    tokio::spawn(async move {
                        let (ping, pinged) = oneshot::channel();
                        let (pong, ponged) = oneshot::channel();
                        tokio::spawn(async move {
                            pinged.await.unwrap();
                            pong.send(()).unwrap();
                        });
                        ping.send(()).unwrap();
                        ponged.await.unwrap();
                        if left.fetch_sub(1, Relaxed) == 1 {
                            done.send(()).unwrap();
                        }
                    });
                }
            });
            all_done.recv().unwrap();
        });
    });
    assert_eq!(left.load(Relaxed), 0);
}

pub const RING_TASKS: u64 = 300;
pub const RING_LAPS: u64 = 300;

static BOXES: [Mailbox; RING_TASKS as usize] = [const { Mailbox::new() }; RING_TASKS as usize];

/// A token goes round; it counts its hops. At the end it lies before the first task again.
pub fn ring(run: &mut Run) {
    let rt = run.runtime();
    let tasks = RING_TASKS as usize;
    let (done, all_done) = sync_channel(1);
    let mut handles = Vec::with_capacity(tasks);
    run.measure(|| {
        BOXES[0].set(Some(0));
        for i in 0..tasks {
            let done = (i == tasks - 1).then(|| done.clone());
            handles.push(rt.spawn(async move {
                for _ in 0..RING_LAPS {
                    let token = BOXES[i].receive().await;
                    BOXES[(i + 1) % tasks].send(token + 1).await;
                }
                if let Some(done) = done {
                    done.send(()).unwrap();
                }
            }));
        }
        all_done.recv().unwrap();
        rt.block_on(async {
            for handle in handles.drain(..) {
                handle.await.unwrap();
            }
        });
        assert_eq!(BOXES[0].last(), RING_TASKS * RING_LAPS);
        BOXES[0].set(None);
    });
}
