//! Switching: yields, wakes between tasks that wait for each other, and a token in a ring.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

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

/// A token goes round; it counts its hops.
pub fn ring(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let (first, mut receiver) = mpsc::channel(1);
        let mut handles = Vec::with_capacity(RING_TASKS as usize);
        for i in 0..RING_TASKS {
            let (sender, next_receiver) = mpsc::channel(1);
            let last = i == RING_TASKS - 1;
            let sender = if last { first.clone() } else { sender };
            let mut receiver = std::mem::replace(&mut receiver, next_receiver);
            handles.push(rt.spawn(async move {
                let mut hops = 0;
                for lap in 1..=RING_LAPS {
                    hops = receiver.recv().await.unwrap() + 1;
                    // At the end of the last lap nobody waits for it any more.
                    if !(last && lap == RING_LAPS) {
                        sender.send(hops).await.unwrap();
                    }
                }
                hops
            }));
        }
        rt.block_on(async {
            first.send(0).await.unwrap();
            let mut hops = 0;
            for handle in handles {
                hops = handle.await.unwrap();
            }
            assert_eq!(hops, RING_TASKS * RING_LAPS);
        });
    });
}
