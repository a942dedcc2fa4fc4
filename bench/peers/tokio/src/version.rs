//! Which Tokio this is.

/// The version that Cargo.lock names.
pub fn tokio_version() -> &'static str {
    include_str!("../Cargo.lock")
        .split_once("name = \"tokio\"\nversion = \"")
        .and_then(|(_, rest)| rest.split('"').next())
        .expect("Cargo.lock names tokio")
}
