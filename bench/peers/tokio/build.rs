//! Tells the program by which compiler it was built.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let output = Command::new(env::var("RUSTC").unwrap())
        .arg("--version")
        .output()
        .expect("rustc --version");
    // "rustc 1.95.0 (f2d3ce0bd 2026-03-21)"
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    println!("cargo:rustc-env=COMPILER={}", words.join(" "));
}
