//! Where things are: our binaries, what the lab fetched, the recordings.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

pub use transcription_lab::files::{cached, root};

/// A binary of ours, from the folder that this program was built into.
pub fn binary(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    // A test is in target/<machine>/release/deps.
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap()
    } else {
        folder
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run the tests by `make test`",
        path.display()
    );
    path
}

/// A recording in `tests/data/librivox`.
pub fn recording(name: &str) -> PathBuf {
    data("librivox").join(name)
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits = hash.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

/// Something in `tests/data`.
pub fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}
