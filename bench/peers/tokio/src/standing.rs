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
    run.values = vec![("bytes", vec![bytes as f64 / run.operations as f64])];
}

/// Two tasks that pass each other a ball for ever.
struct Game {
    eternal: AtomicBool,
    balls: [Notify; 2],
    passes: [Passes; 2],
}

/// How often a player has passed the ball on: once in each of its polls.
#[repr(align(64))]
struct Passes(AtomicU64);

impl Game {
    /// One of the two. Whoever sees the end first has passed the ball on, so that the other one
    /// sees it, too.
    async fn play(self: Arc<Game>, player: usize) {
        let passes = &self.passes[player].0;
        loop {
            self.balls[player].notified().await;
            passes.store(passes.load(Relaxed) + 1, Relaxed);
            self.balls[1 - player].notify_one();
            if !self.eternal.load(Relaxed) {
                break;
            }
        }
    }

    fn passed(&self) -> u64 {
        self.passes
            .iter()
            .map(|passes| passes.0.load(Relaxed))
            .sum()
    }
}

const STARTS: usize = 100;

/// The worst of some starts of tasks that come from outside: the time from before the spawn, and
/// the passes after it.
fn worst_start(rt: &Runtime) -> (Duration, u64) {
    let game = Arc::new(Game {
        eternal: AtomicBool::new(true),
        balls: [Notify::new(), Notify::new()],
        passes: [const { Passes(AtomicU64::new(0)) }; 2],
    });
    game.balls[0].notify_one();
    let players = [0, 1].map(|player| rt.spawn(game.clone().play(player)));
    let (started, start) = sync_channel(1);
    let mut worst = (Duration::ZERO, 0);
    for _ in 0..STARTS {
        let (playing, started) = (game.clone(), started.clone());
        let begin = Instant::now();
        rt.spawn(async move {
            let start = (begin.elapsed(), playing.passed());
            started.send(start).unwrap();
        });
        let before = game.passed();
        let (time, passed) = start.recv().unwrap();
        worst.0 = worst.0.max(time);
        worst.1 = worst.1.max(passed.saturating_sub(before));
    }
    game.eternal.store(false, Relaxed);
    for player in players {
        rt.block_on(player).unwrap();
    }
    worst
}

/// How long a new task waits for its start.
pub fn fairness(run: &mut Run) {
    let rt = run.runtime();
    let worst = |_| worst_start(&rt).0.as_nanos() as f64;
    run.values = vec![("worst_ns", (0..run.wanted).map(worst).collect())];
}

/// How many polls of the others it waits for.
pub fn fairness_polls(run: &mut Run) {
    let rt = run.runtime();
    let worst = |_| worst_start(&rt).1 as f64;
    run.values = vec![("worst_polls", (0..run.wanted).map(worst).collect())];
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
    run.values = vec![("cpu_ns_per_s", values)];
}
