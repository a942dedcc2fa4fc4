//! What is not a time per operation: memory of parked tasks, fairness, and being idle.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::sync_channel;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::mailbox::Mailbox;
use crate::measure::{resident, usage, Run};

pub const PARKED_TASKS: u64 = 1_000_000;

/// How many tasks have been polled and now wait.
static PARKED: AtomicU64 = AtomicU64::new(0);

/// A future of 64 bytes that keeps its waker, as one that waits does, and never gets ready.
struct Parked {
    waker: Option<Waker>,
    _state: [u64; 6],
}

const _: () = assert!(std::mem::size_of::<Parked>() == 64);

impl Future for Parked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        PARKED.fetch_add(1, Release);
        Poll::Pending
    }
}

/// Spawns a task for each handle, and comes back when all of them wait.
fn park(rt: &Runtime, handles: &mut [Option<JoinHandle<()>>]) {
    PARKED.store(0, Relaxed);
    for handle in handles.iter_mut() {
        *handle = Some(rt.spawn(Parked {
            waker: None,
            _state: black_box([1; 6]),
        }));
    }
    while PARKED.load(Acquire) < handles.len() as u64 {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Only the first measurement of a process is true, since freed memory stays resident.
pub fn memory(run: &mut Run) {
    let rt = run.runtime();
    // The memory that the handles themselves stand in is touched, and not counted.
    let mut handles = Vec::new();
    handles.resize_with(run.operations as usize, || black_box(None));
    rt.block_on(async { tokio::spawn(async {}).await.unwrap() });
    let before = resident();
    park(&rt, &mut handles);
    let bytes = resident().saturating_sub(before);
    run.values = Some(("bytes", vec![bytes as f64 / run.operations as f64]));
}

/// One of two tasks that pass each other a ball for ever. Each gets it once more after the end.
async fn play(eternal: Arc<AtomicBool>, mailboxes: Arc<[Mailbox; 2]>, mine: usize) {
    while eternal.load(Relaxed) {
        mailboxes[mine].receive().await;
        mailboxes[1 - mine].send(0).await;
    }
}

const PROBES: usize = 100;

/// How long a task that comes from outside waits for its start, at worst.
pub fn fairness(run: &mut Run) {
    let rt = run.runtime();
    let mut values = Vec::new();
    for _ in 0..run.wanted {
        let eternal = Arc::new(AtomicBool::new(true));
        let mailboxes = Arc::new([const { Mailbox::new() }; 2]);
        mailboxes[0].set(Some(0));
        let players = [0, 1].map(|mine| rt.spawn(play(eternal.clone(), mailboxes.clone(), mine)));
        let (started, start) = sync_channel(1);
        let mut worst = Duration::ZERO;
        for _ in 0..PROBES {
            let started = started.clone();
            let spawned = Instant::now();
            rt.spawn(async move { started.send(spawned.elapsed()).unwrap() });
            worst = worst.max(start.recv().unwrap());
        }
        eternal.store(false, Relaxed);
        for player in players {
            rt.block_on(player).unwrap();
        }
        values.push(worst.as_nanos() as f64);
    }
    run.values = Some(("worst_ns", values));
}

/// CPU time, in each second, of a runtime whose tasks are all parked. A window has 2 s; five of
/// them are the 10 s of the workload.
pub fn idle(run: &mut Run) {
    let rt = run.runtime();
    let mut handles: Vec<_> = (0..1000).map(|_| None).collect();
    park(&rt, &mut handles);
    let window = Duration::from_millis(if run.quick { 400 } else { 2000 });
    let mut values = Vec::new();
    for _ in 0..run.wanted {
        thread::sleep(Duration::from_millis(500));
        let (before, _) = usage();
        thread::sleep(window);
        let (after, _) = usage();
        values.push((after - before) as f64 / window.as_secs_f64());
    }
    run.values = Some(("cpu_ns_per_s", values));
}
