//! Fork and join: trees of tasks in which each parent joins its children and adds up what they say.

use tokio::task::JoinHandle;

use crate::measure::Run;

pub const SKYNET_LEAVES: u64 = 1_000_000;
pub const SKYNET_TASKS: u64 = 1_111_111;

/// A task for `size` leaves, the first of which has this number.
fn skynet_task(number: u64, size: u64) -> JoinHandle<u64> {
    tokio::spawn(async move {
        if size == 1 {
            return number;
        }
        let size = size / 10;
        let children: [_; 10] =
            std::array::from_fn(|i| skynet_task(number + i as u64 * size, size));
        let mut sum = 0;
        for child in children {
            sum += child.await.unwrap();
        }
        sum
    })
}

pub fn skynet(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let sum = rt.block_on(async { skynet_task(0, SKYNET_LEAVES).await.unwrap() });
        assert_eq!(sum, 499_999_500_000);
    });
}

pub const FIB_TASKS: u64 = 57_313;

fn fib_task(n: u64) -> JoinHandle<u64> {
    tokio::spawn(async move {
        if n < 2 {
            return n;
        }
        let a = fib_task(n - 1);
        let b = fib_task(n - 2);
        a.await.unwrap() + b.await.unwrap()
    })
}

pub fn fib(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let value = rt.block_on(async { fib_task(22).await.unwrap() });
        assert_eq!(value, 17_711);
    });
}

const QUEENS: u32 = 8;
pub const NQUEENS_TASKS: u64 = 2057;

/// The ways to go on from the rows that are filled; a bit is set for each column and diagonal
/// that is taken.
fn queens_task(row: u32, columns: u32, left: u32, right: u32) -> JoinHandle<u64> {
    tokio::spawn(async move {
        if row == QUEENS {
            return 1;
        }
        let mut children = [const { None }; QUEENS as usize];
        let mut count = 0;
        for column in 0..QUEENS {
            let bit = 1 << column;
            if (columns | left | right) & bit == 0 {
                children[count] = Some(queens_task(
                    row + 1,
                    columns | bit,
                    (left | bit) << 1,
                    (right | bit) >> 1,
                ));
                count += 1;
            }
        }
        let mut ways = 0;
        for child in &mut children[..count] {
            ways += child.take().unwrap().await.unwrap();
        }
        ways
    })
}

pub fn nqueens(run: &mut Run) {
    let rt = run.runtime();
    run.measure(|| {
        let ways = rt.block_on(async { queens_task(0, 0, 0, 0).await.unwrap() });
        assert_eq!(ways, 92);
    });
}
