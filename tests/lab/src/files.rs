//! Where the lab keeps what it fetched.

use std::path::PathBuf;

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

/// The folder of all that is fetched, shared by all checkouts.
#[expect(clippy::disallowed_methods, reason = "the lab's own setting")]
pub fn cache() -> PathBuf {
    std::env::var_os("LAB_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/transcription-lab"),
        PathBuf::from,
    )
}
