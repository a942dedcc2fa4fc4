//! The command line, and what the program prints.

use std::io::{IsTerminal, Write};
use std::process::exit;

use crate::measure::{Run, Sample};

pub const FAMILIES: [&str; 3] = ["engine", "time", "scope"];

pub struct Options {
    pub list: bool,
    family: String,
    filter: Option<String>,
    pub workers: usize,
    pub samples: usize,
    pub min_ms: u64,
    pub quick: bool,
    pub json: Option<String>,
}

fn refuse(message: &str) -> ! {
    eprintln!("skua-peer-tokio: {message}");
    exit(2);
}

impl Options {
    /// Reads `--name value` and `--name=value`.
    pub fn read(usage: &str, cpus: usize) -> Options {
        let mut options = Options {
            list: false,
            family: String::new(),
            filter: None,
            workers: cpus,
            samples: 5,
            min_ms: 50,
            quick: false,
            json: None,
        };
        let mut family = None;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let (name, given) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                given
                    .clone()
                    .or_else(|| arguments.next())
                    .unwrap_or_else(|| refuse(&format!("{name} needs a value")))
            };
            match name {
                "--help" => {
                    print!("{usage}");
                    exit(0);
                }
                "--list" => options.list = true,
                "--quick" => options.quick = true,
                "--filter" => options.filter = Some(value()),
                "--json" => options.json = Some(value()),
                "--workers" => options.workers = number(name, &value(), 512) as usize,
                "--samples" => options.samples = number(name, &value(), 1000) as usize,
                "--min-ms" => options.min_ms = number(name, &value(), 60_000),
                _ if name.starts_with('-') => refuse(&format!("unknown option {argument}")),
                _ if family.is_none() => family = Some(argument),
                _ => refuse(&format!("unknown argument {argument}")),
            }
        }
        let Some(family) = family else {
            eprint!("{usage}");
            exit(2);
        };
        if !FAMILIES.contains(&family.as_str()) {
            refuse(&format!("{family}: expected engine, time or scope"));
        }
        Options { family, ..options }
    }

    /// Whether a workload is asked for; `name` begins with its family.
    pub fn wants(&self, name: &str) -> bool {
        if name.split('/').next() != Some(&self.family) {
            return false;
        }
        match &self.filter {
            None => true,
            Some(glob) if !glob.contains(['*', '?', '[']) => name.contains(glob.as_str()),
            Some(glob) => {
                let text = |text: &str| std::ffi::CString::new(text).unwrap_or_default();
                let (glob, name) = (text(glob), text(name));
                // SAFETY: both are strings that end with a zero.
                unsafe { libc::fnmatch(glob.as_ptr(), name.as_ptr(), 0) == 0 }
            }
        }
    }
}

/// A number from 1 to `max`.
fn number(name: &str, value: &str, max: u64) -> u64 {
    match value.parse() {
        Ok(number) if (1..=max).contains(&number) => number,
        _ => refuse(&format!(
            "{name}={value}: expected a number from 1 to {max}"
        )),
    }
}

struct Row {
    name: String,
    workers: usize,
    operations: u64,
    samples: Vec<Sample>,
    values: Vec<(&'static str, Vec<f64>)>,
}

pub struct Report {
    program: &'static str,
    version: &'static str,
    language: &'static str,
    rows: Vec<Row>,
    terminal: bool,
}

impl Report {
    pub fn new(program: &'static str, version: &'static str, language: &'static str) -> Report {
        Report {
            program,
            version,
            language,
            rows: Vec::new(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// What is being measured, in a line that the next one overwrites.
    pub fn progress(&self, name: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{name}");
        }
    }

    pub fn add(&mut self, name: &str, run: Run) {
        assert!(!run.samples.is_empty() || !run.values.is_empty());
        self.rows.push(Row {
            name: name.to_string(),
            workers: run.workers,
            operations: run.operations,
            samples: run.samples,
            values: run.values,
        });
    }

    pub fn finish(&self, json: Option<&str>) {
        self.progress("");
        match json {
            None => print!("{}", self.table()),
            Some("-") => print!("{}", self.json()),
            Some(path) => {
                let written = std::fs::File::create(path)
                    .and_then(|mut file| file.write_all(self.json().as_bytes()));
                if let Err(error) = written {
                    eprintln!("skua-peer-tokio: {path}: {error}");
                    exit(1);
                }
            }
        }
    }

    /// The names in it are plain: nothing has to be escaped.
    fn json(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(Row::json).collect();
        format!(
            "{{\"program\":\"{}\",\"version\":\"{}\",\"language\":\"{}\",\"results\":[\n{}\n],\"skipped\":[]}}\n",
            self.program, self.version, self.language, rows.join(",\n")
        )
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{} {}, {}\n{:<34}{:>8}{:>12}{:>12}{:>12}{:>12}{:>12}\n",
            self.program,
            self.version,
            self.language,
            "workload",
            "workers",
            "ns/op",
            "min",
            "max",
            "cpu ns/op",
            "switches/op"
        );
        for row in &self.rows {
            text += &row.lines();
        }
        text
    }
}

impl Row {
    fn json(&self) -> String {
        let mut head = format!("\"name\":\"{}\",\"workers\":{}", self.name, self.workers);
        if self.values.is_empty() {
            head += &format!(",\"operations\":{}", self.operations);
        }
        let figures = self.figures();
        let samples: Vec<String> = (0..figures[0].1.len())
            .map(|i| {
                let field =
                    |(key, values): &(&str, Vec<f64>)| format!("\"{key}\":{:.6}", values[i]);
                let fields: Vec<String> = figures.iter().map(field).collect();
                format!("{{{}}}", fields.join(","))
            })
            .collect();
        let sorted = sorted(&figures[0].1);
        format!(
            "{{{head},\"median\":{:.3},\"min\":{:.3},\"max\":{:.3},\"samples\":[{}]}}",
            sorted[sorted.len() / 2],
            sorted[0],
            sorted[sorted.len() - 1],
            samples.join(",")
        )
    }

    /// What was measured, each with a value for each sample. The first is compared with others.
    fn figures(&self) -> Vec<(&'static str, Vec<f64>)> {
        if !self.values.is_empty() {
            return self.values.clone();
        }
        let field = |field: fn(&Sample) -> f64| self.samples.iter().map(field).collect();
        vec![
            ("ns", field(|sample| sample.ns)),
            ("cpu_ns", field(|sample| sample.cpu_ns)),
            ("switches", field(|sample| sample.switches)),
        ]
    }

    /// A line, or one for each of the figures that are not times of an operation.
    fn lines(&self) -> String {
        let mut text = String::new();
        let figures = self.figures();
        for (key, values) in &figures {
            let values = sorted(values);
            let middle = values[values.len() / 2];
            match *key {
                "cpu_ns" => text += &format!("{middle:>12.1}"),
                "switches" => text += &format!("{middle:>12.4}\n"),
                _ => {
                    text += &format!("{:<34}{:>8}", self.name, self.workers);
                    text += &format!("{middle:>12.1}{:>12.1}", values[0]);
                    text += &format!("{:>12.1}", values[values.len() - 1]);
                }
            }
            if !self.values.is_empty() {
                text += &format!(" {key}\n");
            }
        }
        text
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}
