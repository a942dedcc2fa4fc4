//! Measuring: wall clock, CPU time and context switches of the whole process.

use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};

/// How many iterations warm a workload up: one at least, then until this much time has passed.
const WARM_UP: Duration = Duration::from_millis(50);

/// CPU time in ns, user and system, and context switches of all threads so far.
pub fn usage() -> (u64, u64) {
    // SAFETY: getrusage fills the structure, for which all zeros are a valid value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    (
        ns(usage.ru_utime) + ns(usage.ru_stime),
        (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
    )
}

/// The bytes of memory that the process has resident.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("/proc/self/statm");
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    // SAFETY: sysconf has no conditions.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// What one operation took.
pub struct Sample {
    pub ns: f64,
    pub cpu_ns: f64,
    pub switches: f64,
}

/// One run of one workload.
pub struct Run {
    /// Worker threads of the runtime; a workload that needs a certain number changes it.
    pub workers: usize,
    /// How many samples are wanted.
    pub wanted: usize,
    pub min: Duration,
    pub quick: bool,
    /// Operations of one iteration.
    pub operations: u64,
    pub samples: Vec<Sample>,
    /// Instead of samples: the keys of other figures in the JSON, and their values.
    pub values: Vec<(&'static str, Vec<f64>)>,
}

impl Run {
    /// A runtime with all drivers that the features of the crate bring.
    pub fn runtime(&self) -> Runtime {
        runtime::Builder::new_multi_thread()
            .worker_threads(self.workers)
            .enable_all()
            .build()
            .expect("runtime")
    }

    /// A runtime without drivers.
    pub fn runtime_without_drivers(&self) -> Runtime {
        runtime::Builder::new_multi_thread()
            .worker_threads(self.workers)
            .build()
            .expect("runtime")
    }

    /// Warms up, and takes the samples: each so many iterations that they last long enough.
    pub fn measure(&mut self, mut iteration: impl FnMut()) {
        self.measure_part(|| {
            let start = Instant::now();
            iteration();
            start.elapsed()
        });
    }

    /// The same for an iteration that says itself how long the part of it took that counts. CPU
    /// time and context switches are those of all of it.
    pub fn measure_part(&mut self, mut iteration: impl FnMut() -> Duration) {
        let start = Instant::now();
        loop {
            iteration();
            if start.elapsed() >= WARM_UP {
                break;
            }
        }
        for _ in 0..self.wanted {
            let mut spent = Duration::ZERO;
            let mut operations = 0;
            let (cpu_ns, switches) = usage();
            while operations == 0 || spent < self.min {
                spent += iteration();
                operations += self.operations;
            }
            let (cpu_ns_now, switches_now) = usage();
            self.samples.push(Sample {
                ns: spent.as_nanos() as f64 / operations as f64,
                cpu_ns: (cpu_ns_now - cpu_ns) as f64 / operations as f64,
                switches: (switches_now - switches) as f64 / operations as f64,
            });
        }
    }
}
