//! Skua's benchmarks on Tokio, but for the server: the same workloads, command line and JSON as
//! skua-bench.

mod branch;
mod fork;
mod mailbox;
mod measure;
mod report;
mod scope;
mod spawn;
mod standing;
mod switch;
mod time;
mod version;

use std::process::exit;
use std::thread;
use std::time::Duration;

use measure::Run;
use report::{Options, Report};
use version::tokio_version;

const USAGE: &str = "\
usage: skua-peer-tokio engine|time|scope [OPTION]...

  --list          print the names of the workloads
  --filter GLOB   only workloads whose name matches; without * ? [ a part of it will do
  --workers N     worker threads (default: number of CPUs)
  --samples N     samples of each workload (default 5)
  --min-ms MS     what a sample takes at least (default 50)
  --quick         idle and live in windows of 0.4 s instead of 2 s, live with 10^5 timers
  --json FILE     write JSON to a file, or to standard output with -, instead of the table
";

type Runner = Box<dyn Fn(&mut Run)>;

struct Workload {
    name: String,
    operations: u64,
    run: Runner,
}

fn workloads() -> Vec<Workload> {
    let mut all = engine_workloads();
    all.append(&mut time_workloads());
    all.append(&mut scope_workloads());
    all
}

/// Has the workloads of a family added by `list`, which gets a function for that.
fn family(name: &str, list: impl FnOnce(&mut dyn FnMut(&str, u64, Runner))) -> Vec<Workload> {
    let mut all = Vec::new();
    list(&mut |workload, operations, run| {
        all.push(Workload {
            name: format!("{name}/{workload}"),
            operations,
            run,
        })
    });
    all
}

fn time_workloads() -> Vec<Workload> {
    family("time", |add| {
        let insert_cancel = Box::new(time::insert_cancel);
        add("insert_cancel", time::TIMERS, insert_cancel);
        let insert_cancel_one = Box::new(time::insert_cancel_one);
        add("insert_cancel_one", time::SINGLE_TIMERS, insert_cancel_one);
        add(
            "timeout_ready",
            time::TIMEOUTS,
            Box::new(time::timeout_ready),
        );
        let timeout_pending = Box::new(time::timeout_pending);
        add("timeout_pending", time::TIMEOUTS, timeout_pending);
        add("live", 1, Box::new(time::live));
    })
}

fn scope_workloads() -> Vec<Workload> {
    family("scope", |add| {
        add("join", scope::TASKS, Box::new(scope::join));
        add("results", scope::RESULTS, Box::new(scope::results));
        let nested_tasks = scope::SCOPES * (1 + scope::CHILDREN);
        add("nested", nested_tasks, Box::new(scope::nested));
        add("cancel", scope::CANCELLED, Box::new(scope::cancel));
        add("select_2", scope::SELECTS, Box::new(scope::select_2));
        add("select_8", scope::SELECTS, Box::new(scope::select_8));
        add("select_64", scope::SELECTS, Box::new(scope::select_64));
        let biased = [
            scope::select_biased_2,
            scope::select_biased_8,
            scope::select_biased_64,
        ];
        for (branches, run) in [2, 8, 64].into_iter().zip(biased) {
            add(
                &format!("select_biased_{branches}"),
                scope::SELECTS,
                Box::new(run),
            );
        }
        let timers = [
            scope::select_timers_2,
            scope::select_timers_8,
            scope::select_timers_64,
        ];
        for (branches, run) in [2, 8, 64].into_iter().zip(timers) {
            add(
                &format!("select_timers_{branches}"),
                scope::SELECTS,
                Box::new(run),
            );
        }
    })
}

fn engine_workloads() -> Vec<Workload> {
    family("engine", |add| {
        // First of all: memory that other workloads have freed would be used again.
        add("memory", standing::PARKED_TASKS, Box::new(standing::memory));
        add("spawn_many_local", 10_000, Box::new(spawn::many_local));
        add(
            "spawn_many_remote_idle",
            10_000,
            Box::new(spawn::many_remote_idle),
        );
        add(
            "spawn_many_remote_busy1",
            10_000,
            Box::new(spawn::many_remote_busy1),
        );
        add(
            "spawn_many_remote_busy2",
            1000,
            Box::new(spawn::many_remote_busy2),
        );
        let yields = switch::YIELDING_TASKS * switch::YIELDS;
        add("yield_many", yields, Box::new(switch::yield_many));
        add("ping_pong", 1000, Box::new(switch::ping_pong));
        add("chained_spawn", 1000, Box::new(spawn::chained));
        add("spawn", 1, Box::new(spawn::one));
        add("spawn10", 10, Box::new(spawn::ten));
        for producers in [1, 2, 4, 8, 16] {
            add(
                &format!("remote_spawn_{producers}"),
                12_800,
                Box::new(move |run| spawn::remote(run, producers)),
            );
        }
        for tasks in [1, 4, 16] {
            add(
                &format!("spawn_blocking_{tasks}"),
                tasks * spawn::BLOCKING_BATCHES * spawn::BLOCKING_BATCH,
                Box::new(move |run| spawn::blocking(run, tasks)),
            );
        }
        add("skynet", fork::SKYNET_TASKS, Box::new(fork::skynet));
        let hops = switch::RING_TASKS * switch::RING_LAPS;
        add("ring", hops, Box::new(switch::ring));
        add("fib", fork::FIB_TASKS, Box::new(fork::fib));
        add("nqueens", fork::NQUEENS_TASKS, Box::new(fork::nqueens));
        add("fairness", 1, Box::new(standing::fairness));
        add("fairness_polls", 1, Box::new(standing::fairness_polls));
        add("idle", 1, Box::new(standing::idle));
    })
}

fn main() {
    // A wrong answer in any thread ends the program.
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default_hook(info);
        exit(1);
    }));

    let cpus = thread::available_parallelism().map_or(1, |n| n.get());
    let options = Options::read(USAGE, cpus);
    let mut all = workloads();
    all.retain(|workload| options.wants(&workload.name));
    if options.list {
        for workload in all {
            println!("{}", workload.name);
        }
        return;
    }
    if all.is_empty() {
        eprintln!("skua-peer-tokio: no workload matches");
        exit(2);
    }
    let mut report = Report::new("tokio", tokio_version(), env!("COMPILER"));
    for workload in all {
        report.progress(&workload.name);
        let mut run = Run {
            workers: options.workers,
            wanted: options.samples,
            min: Duration::from_millis(options.min_ms),
            quick: options.quick,
            operations: workload.operations,
            samples: Vec::new(),
            values: Vec::new(),
        };
        (workload.run)(&mut run);
        report.add(&workload.name, run);
    }
    report.finish(options.json.as_deref());
}
