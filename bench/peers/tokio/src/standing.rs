//! What is not a time per operation: memory of parked tasks, fairness, and being idle.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

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
    run.value = Some(("bytes", bytes as f64 / run.operations as f64));
}

/// One of two tasks that wake each other for ever.
async fn play(stop: Arc<AtomicBool>, mine: Arc<Notify>, other: Arc<Notify>) {
    while !stop.load(Relaxed) {
        other.notify_one();
        mine.notified().await;
    }
    other.notify_one();
}

const PROBES: usize = 100;

/// How long a task that comes from outside waits for its start, at worst.
pub fn fairness(run: &mut Run) {
    let rt = run.runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let (a, b) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let players = [
        rt.spawn(play(stop.clone(), a.clone(), b.clone())),
        rt.spawn(play(stop.clone(), b, a)),
    ];
    let mut worst = Duration::ZERO;
    for _ in 0..PROBES {
        let spawned = Instant::now();
        let probe = rt.spawn(async move { spawned.elapsed() });
        worst = worst.max(rt.block_on(probe).unwrap());
    }
    stop.store(true, Relaxed);
    for player in players {
        rt.block_on(player).unwrap();
    }
    run.value = Some(("worst_ns", worst.as_nanos() as f64));
}

/// CPU time, in each second, of a runtime whose tasks are all parked.
pub fn idle(run: &mut Run) {
    let rt = run.runtime();
    let mut handles: Vec<_> = (0..1000).map(|_| None).collect();
    park(&rt, &mut handles);
    thread::sleep(Duration::from_millis(500));
    let seconds = if run.quick { 2 } else { 10 };
    let (before, _) = usage();
    thread::sleep(Duration::from_secs(seconds));
    let (after, _) = usage();
    run.value = Some(("cpu_ns_per_s", (after - before) as f64 / seconds as f64));
}
