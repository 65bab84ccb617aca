//! Where things are: our binaries, the cache of the lab, the recordings.

use std::path::{Path, PathBuf};

/// A binary of ours, from the folder that this test was built into.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/release/deps/test
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is not built: run the tests by `make test`",
        path.display()
    );
    path
}

/// Something that `tests/lab/fetch.sh` fetched.
pub fn cached(name: &str) -> PathBuf {
    let path = cache().join(name);
    assert!(
        path.exists(),
        "{} is not there: run the tests by `make test`",
        path.display()
    );
    path
}

/// A recording in `tests/data/librivox`.
pub fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/librivox")
        .join(name)
}

#[expect(clippy::disallowed_methods, reason = "the lab's own setting")]
fn cache() -> PathBuf {
    std::env::var_os("LAB_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/transcription-lab"),
        PathBuf::from,
    )
}
