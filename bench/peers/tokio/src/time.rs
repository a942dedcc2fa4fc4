//! Time: timers that are cancelled, timeouts around operations, and how late many timers fire.

use std::future::{poll_fn, ready, Future};
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::time::{sleep, sleep_until, timeout, Instant, Sleep};

use crate::branch::GiveWay;
use crate::measure::{usage, Run};

pub const TIMERS: u64 = 1_000_000;
pub const SINGLE_TIMERS: u64 = 100_000;

/// Lengths of time from a second to 68 minutes, each octave as likely as any other: the same in all
/// programs. None of these timers fires while something is measured.
fn lengths(count: u64) -> Arc<[Duration]> {
    let mut x: u64 = 88172645463325252;
    let length = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let octave = 1_000_000_000 << ((x >> 32) % 12);
        Duration::from_nanos(octave + x % octave)
    };
    (0..count).map(length).collect()
}

/// Arms a timer by its first poll. Whether it waits.
fn arm(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    timer.poll(cx).is_pending()
}

/// All timers live at once, then all cancelled in the order in which they were armed.
async fn insert_all(lengths: Arc<[Duration]>, mut timers: Vec<Sleep>) -> Vec<Sleep> {
    assert!(timers.is_empty() && timers.capacity() >= lengths.len());
    poll_fn(|cx| {
        let mut waiting = 0;
        for length in lengths.iter() {
            timers.push(sleep(*length));
            // SAFETY: there is room for all, so none moves before clear() drops it.
            let timer = unsafe { Pin::new_unchecked(timers.last_mut().unwrap()) };
            waiting += usize::from(arm(timer, cx));
        }
        assert_eq!(waiting, lengths.len());
        Poll::Ready(())
    })
    .await;
    timers.clear();
    timers
}

pub fn insert_cancel(run: &mut Run) {
    let rt = run.runtime();
    let lengths = lengths(run.operations);
    let mut timers = Vec::with_capacity(lengths.len());
    run.measure(|| {
        let task = rt.spawn(insert_all(lengths.clone(), std::mem::take(&mut timers)));
        timers = rt.block_on(task).unwrap();
    });
}

/// Each timer is cancelled before the next is armed.
pub fn insert_cancel_one(run: &mut Run) {
    let rt = run.runtime();
    let lengths = lengths(run.operations);
    run.measure(|| {
        let lengths = lengths.clone();
        let task = rt.spawn(async move {
            let count = lengths.len();
            let waiting = poll_fn(move |cx| {
                let one = |length: &&Duration| arm(pin!(sleep(**length)), cx);
                Poll::Ready(lengths.iter().filter(one).count())
            });
            assert_eq!(waiting.await, count);
        });
        rt.block_on(task).unwrap();
    });
}

pub const TIMEOUTS: u64 = 100_000;
const DEADLINE: Duration = Duration::from_secs(5);

/// Around an operation that is ready at its first poll.
pub fn timeout_ready(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let task = rt.spawn(async {
            let mut sum = 0;
            for i in 0..TIMEOUTS {
                sum += timeout(DEADLINE, ready(black_box(i))).await.unwrap();
            }
            sum
        });
        assert_eq!(rt.block_on(task).unwrap(), TIMEOUTS * (TIMEOUTS - 1) / 2);
    });
}

/// Around an operation that is ready at its second poll: by then the timer is armed.
pub fn timeout_pending(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let task = rt.spawn(async {
            let mut sum = 0;
            for i in 0..TIMEOUTS {
                sum += timeout(DEADLINE, GiveWay::new(i)).await.unwrap();
            }
            sum
        });
        assert_eq!(rt.block_on(task).unwrap(), TIMEOUTS * (TIMEOUTS - 1) / 2);
    });
}

const LIVE: u64 = 1_000_000;
const LIVE_QUICK: u64 = 100_000;
/// How many timers fire in a second, as long as nothing is late for good.
const RATE: u64 = 100_000;
/// How long before the first of them is due.
const LEAD: Duration = Duration::from_millis(200);
/// How long after the last one has been armed the first window begins.
const SETTLING: Duration = Duration::from_millis(500);
/// Lateness is counted in whole microseconds; whatever is later, in the last bucket.
const LATEST_US: usize = 1_000_000;

static ARMED: AtomicU64 = AtomicU64::new(0);
static LATE: [AtomicU32; LATEST_US + 1] = [const { AtomicU32::new(0) }; LATEST_US + 1];

/// Fires once in each period; counts how late.
async fn metronome(mut due: Instant, period: Duration) {
    ARMED.fetch_add(1, Release);
    loop {
        sleep_until(due).await;
        let late = (Instant::now() - due).as_micros() as usize;
        LATE[late.min(LATEST_US)].fetch_add(1, Relaxed);
        due += period;
    }
}

/// What a share of the counted timers was not later than, in ns.
fn lateness(counts: &[u64], share: f64) -> f64 {
    let all: u64 = counts.iter().sum();
    let mut left = (all as f64 * share) as u64;
    for (late, &count) in counts.iter().enumerate() {
        if count > left {
            return (late as f64 + 0.5) * 1000.0;
        }
        left -= count;
    }
    LATEST_US as f64 * 1000.0
}

/// Many timers, each re-armed when it has fired: how late they are, and what CPU time that takes.
pub fn live(run: &mut Run) {
    let rt = run.runtime();
    let count = if run.quick { LIVE_QUICK } else { LIVE };
    let apart = Duration::from_secs(1) / RATE as u32;
    let window = Duration::from_millis(if run.quick { 400 } else { 2000 });
    let first = Instant::now() + LEAD;
    for i in 0..count {
        rt.spawn(metronome(first + apart * i as u32, apart * count as u32));
    }
    while ARMED.load(Acquire) < count {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(SETTLING);
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..run.wanted {
        LATE.iter().for_each(|count| count.store(0, Relaxed));
        let (start, before) = (Instant::now(), usage().0);
        thread::sleep(window);
        let (after, length) = (usage().0, start.elapsed().as_secs_f64());
        let counts: Vec<u64> = LATE.iter().map(|n| u64::from(n.load(Relaxed))).collect();
        let fired = counts.iter().sum::<u64>() as f64 / length / RATE as f64;
        assert!((0.5..1.5).contains(&fired), "{fired} of the rate");
        figures[0].push(lateness(&counts, 0.5));
        figures[1].push(lateness(&counts, 0.99));
        figures[2].push((after - before) as f64 / length);
    }
    let names = ["late_p50_ns", "late_p99_ns", "cpu_ns_per_s"];
    run.values = names.into_iter().zip(figures).collect();
    ARMED.store(0, Relaxed);
}
