//! Spawning: from the thread in block_on, from other threads, in chains, and to the blocking pool.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{spawn_blocking, yield_now, JoinHandle};

use crate::measure::Run;

const STALL: Duration = Duration::from_micros(10);

/// Keeps the thread busy, but lets other threads run.
fn stall() {
    let start = Instant::now();
    while start.elapsed() < STALL {
        thread::yield_now();
    }
}

/// The last of the tasks tells the thread in block_on, which waits outside the runtime.
pub fn many_local(run: &mut Run) {
    let rt = run.runtime();
    let tasks = run.operations as usize;
    let (done, all_done) = sync_channel(1000);
    let left = Arc::new(AtomicUsize::new(0));

    run.measure(|| {
        left.store(tasks, Relaxed);
        rt.block_on(async {
            for _ in 0..tasks {
                let done = done.clone();
                let left = left.clone();
                tokio::spawn(async move {
                    if left.fetch_sub(1, Relaxed) == 1 {
                        done.send(()).unwrap();
                    }
                });
            }
            all_done.recv().unwrap();
        });
    });
    assert_eq!(left.load(Relaxed), 0);
}

/// One thread outside the runtime spawns empty tasks, and then awaits them in order.
fn many_remote(run: &mut Run, rt: &Runtime) {
    let tasks = run.operations as usize;
    let mut handles = Vec::with_capacity(tasks);

    run.measure(|| {
        for _ in 0..tasks {
            handles.push(rt.spawn(async {}));
        }
        rt.block_on(async {
            for handle in handles.drain(..) {
                handle.await.unwrap();
            }
        });
    });
}

pub fn many_remote_idle(run: &mut Run) {
    let rt = run.runtime();
    many_remote(run, &rt);
}

/// The workers are busy with tasks that stall and yield.
pub fn many_remote_busy1(run: &mut Run) {
    let rt = run.runtime();
    let busy = Arc::new(AtomicBool::new(true));
    for _ in 0..2 * run.workers {
        let busy = busy.clone();
        rt.spawn(async move {
            while busy.load(Relaxed) {
                yield_now().await;
                stall();
            }
        });
    }
    many_remote(run, &rt);
    busy.store(false, Relaxed);
}

/// A task that stalls and then spawns its successor.
fn stalling_chain(busy: Arc<AtomicBool>) {
    tokio::spawn(async move {
        if busy.load(Relaxed) {
            stall();
            stalling_chain(busy);
        }
    });
}

/// The workers are busy with tasks that stall and spawn.
pub fn many_remote_busy2(run: &mut Run) {
    let rt = run.runtime();
    let busy = Arc::new(AtomicBool::new(true));
    for _ in 0..run.workers {
        let busy = busy.clone();
        rt.spawn(async move { stalling_chain(busy) });
    }
    many_remote(run, &rt);
    busy.store(false, Relaxed);
}

/// The nth of a chain of tasks; the last one tells the thread that waits.
fn chain(done: SyncSender<()>, n: u64) {
    if n == 0 {
        done.send(()).unwrap();
    } else {
        tokio::spawn(async move { chain(done, n - 1) });
    }
}

pub fn chained(run: &mut Run) {
    let rt = run.runtime();
    let length = run.operations;
    let (done, all_done) = sync_channel(1000);

    run.measure(|| {
        let done = done.clone();
        rt.block_on(async {
            tokio::spawn(async move { chain(done, length) });
            all_done.recv().unwrap();
        });
    });
}

async fn work() -> u32 {
    let value = 1 + 1;
    yield_now().await;
    black_box(value)
}

/// One at a time, on a runtime with one worker.
pub fn one(run: &mut Run) {
    run.workers = 1;
    let rt = run.runtime_without_drivers();
    run.measure(|| {
        rt.block_on(async {
            assert_eq!(tokio::spawn(work()).await.unwrap(), 2);
        });
    });
}

/// Ten at a time, on a runtime with one worker.
pub fn ten(run: &mut Run) {
    run.workers = 1;
    let rt = run.runtime_without_drivers();
    run.measure(|| {
        rt.block_on(async {
            let handles: [_; 10] = std::array::from_fn(|_| tokio::spawn(work()));
            for handle in handles {
                assert_eq!(handle.await.unwrap(), 2);
            }
        });
    });
}

/// Threads outside the runtime spawn at once. The clock runs from the barrier to the last
/// producer's last spawn: neither the threads' creation nor the tasks' awaiting is timed.
pub fn remote(run: &mut Run, producers: usize) {
    let rt = run.runtime_without_drivers();
    let share = run.operations as usize / producers;
    let mut handles: Vec<Vec<JoinHandle<()>>> =
        (0..producers).map(|_| Vec::with_capacity(share)).collect();

    run.measure_part(|| {
        let barrier = Barrier::new(producers);
        let produce = |handles: &mut Vec<_>| {
            barrier.wait();
            let start = Instant::now();
            for _ in 0..share {
                handles.push(rt.spawn(async {}));
            }
            (start, Instant::now())
        };
        let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
            let threads: Vec<_> = handles
                .iter_mut()
                .map(|handles| scope.spawn(|| produce(handles)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let start = spans.iter().map(|span| span.0).min().unwrap();
        let end = spans.iter().map(|span| span.1).max().unwrap();
        rt.block_on(async {
            for handle in handles.iter_mut().flat_map(|handles| handles.drain(..)) {
                handle.await.unwrap();
            }
        });
        end - start
    });
}

pub const BLOCKING_BATCHES: u64 = 100;
pub const BLOCKING_BATCH: u64 = 16;

/// Each task makes so many calls at once, and awaits them, a hundred times over.
pub fn blocking(run: &mut Run, tasks: u64) {
    let rt = run.runtime();
    let mut handles = Vec::with_capacity(tasks as usize);
    run.measure(|| {
        for _ in 0..tasks {
            handles.push(rt.spawn(async {
                for _ in 0..BLOCKING_BATCHES {
                    let batch: [_; BLOCKING_BATCH as usize] =
                        std::array::from_fn(|_| spawn_blocking(|| black_box(0)));
                    for job in batch {
                        job.await.unwrap();
                    }
                }
            }));
        }
        rt.block_on(async {
            for handle in handles.drain(..) {
                handle.await.unwrap();
            }
        });
    });
}
