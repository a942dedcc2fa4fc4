//! Tasks that belong together (JoinSet), and select.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{yield_now, JoinSet};
use tokio::time::sleep;

use crate::branch::{Branch, GiveWay};
use crate::mailbox::Mailbox;
use crate::measure::Run;

/// Runs it as a task, so on a worker, and gives its result.
fn on_worker<T: Send + 'static>(rt: &Runtime, task: impl Future<Output = T> + Send + 'static) -> T {
    rt.block_on(rt.spawn(task)).unwrap()
}

/// Joins all that are left, and adds up what they say.
async fn join_all(mut set: JoinSet<u64>) -> u64 {
    let mut sum = 0;
    while let Some(result) = set.join_next().await {
        sum += result.unwrap();
    }
    sum
}

pub const TASKS: u64 = 1_000_000;

/// Many tasks without results.
pub fn join(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        on_worker(&rt, async {
            let mut set = JoinSet::new();
            for _ in 0..TASKS {
                set.spawn(async {});
            }
            let mut joined = 0;
            while let Some(result) = set.join_next().await {
                result.unwrap();
                joined += 1;
            }
            assert_eq!(joined, TASKS);
        });
    });
}

pub const RESULTS: u64 = 100_000;

/// The results are taken one by one, as they come.
pub fn results(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let sum = on_worker(&rt, async {
            let mut set = JoinSet::new();
            for i in 0..RESULTS {
                set.spawn(async move { black_box(i) });
            }
            join_all(set).await
        });
        assert_eq!(sum, RESULTS * (RESULTS - 1) / 2);
    });
}

pub const SCOPES: u64 = 1000;
pub const CHILDREN: u64 = 10;

/// A scope of tasks each of which has a scope of its own.
pub fn nested(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let sum = on_worker(&rt, async {
            let mut set = JoinSet::new();
            for i in 0..SCOPES {
                set.spawn(async move {
                    let mut children = JoinSet::new();
                    for j in 0..CHILDREN {
                        children.spawn(async move { black_box(i * CHILDREN + j) });
                    }
                    join_all(children).await
                });
            }
            join_all(set).await
        });
        let leaves = SCOPES * CHILDREN;
        assert_eq!(sum, leaves * (leaves - 1) / 2);
    });
}

pub const CANCELLED: u64 = 10_000;

/// How many tasks have been polled and now wait.
static PARKED: AtomicU64 = AtomicU64::new(0);

/// Keeps its waker, as one that waits does, and never gets ready.
struct Parked(Option<Waker>);

impl Future for Parked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0 = Some(cx.waker().clone());
        PARKED.fetch_add(1, Release);
        Poll::Pending
    }
}

/// Parked tasks are cancelled and joined: only that is timed.
pub fn cancel(run: &mut Run) {
    let rt = run.runtime();
    run.measure_part(|| {
        PARKED.store(0, Relaxed);
        on_worker(&rt, async {
            let mut set = JoinSet::new();
            for _ in 0..CANCELLED {
                set.spawn(Parked(None));
            }
            while PARKED.load(Acquire) < CANCELLED {
                yield_now().await;
            }
            let start = Instant::now();
            let mut cancelled = 0;
            set.abort_all();
            while let Some(result) = set.join_next().await {
                cancelled += u64::from(result.unwrap_err().is_cancelled());
            }
            assert_eq!(cancelled, CANCELLED);
            start.elapsed()
        })
    });
}

pub const SELECTS: u64 = 10_000;

static MAILBOXES: [Mailbox; 64] = [const { Mailbox::new() }; 64];

/// A branch of a select in which number `winner` wins.
fn branch(index: usize, winner: usize) -> Branch<'static> {
    if index == winner {
        Branch::Winner(GiveWay::new(winner as u64))
    } else {
        Branch::Loser(&MAILBOXES[index])
    }
}

/// The same, with losers that wait for timers.
async fn timer_branch(index: usize, winner: usize) -> u64 {
    if index == winner {
        return GiveWay::new(winner as u64).await;
    }
    sleep(Duration::from_secs(3600)).await;
    u64::MAX
}

/// Selects over the branches with these numbers, in an order of chance unless they are `biased`.
macro_rules! select_workload {
    ($name:ident, $branch:ident, $count:literal, [$($biased:tt)*], $($index:literal)*) => {
        pub fn $name(run: &mut Run) {
            let rt = run.runtime();
            run.measure(|| {
                let sum = on_worker(&rt, async {
                    let mut sum = 0;
                    for i in 0..SELECTS as usize {
                        let winner = black_box((i * 7 + 3) % $count);
                        sum += tokio::select! {
                            $($biased)*
                            $(value = $branch($index, winner) => value,)*
                        };
                    }
                    sum
                });
                let expected: usize = (0..SELECTS as usize).map(|i| (i * 7 + 3) % $count).sum();
                assert_eq!(sum, expected as u64);
                assert!(MAILBOXES.iter().all(Mailbox::is_free));
            });
        }
    };
}

/// With eight and sixty-four branches.
macro_rules! select_8 {
    ($name:ident, $branch:ident, [$($biased:tt)*]) => {
        select_workload!($name, $branch, 8, [$($biased)*], 0 1 2 3 4 5 6 7);
    };
}

#[rustfmt::skip]
macro_rules! select_64 {
    ($name:ident, $branch:ident, [$($biased:tt)*]) => {
        select_workload!($name, $branch, 64, [$($biased)*],
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
            61 62 63);
    };
}

select_workload!(select_2, branch, 2, [], 0 1);
select_8!(select_8, branch, []);
select_64!(select_64, branch, []);
select_workload!(select_biased_2, branch, 2, [biased;], 0 1);
select_8!(select_biased_8, branch, [biased;]);
select_64!(select_biased_64, branch, [biased;]);
select_workload!(select_timers_2, timer_branch, 2, [], 0 1);
select_8!(select_timers_8, timer_branch, []);
select_64!(select_timers_64, timer_branch, []);
