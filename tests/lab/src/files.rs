//! Where the project is, and what the lab fetched.

use std::path::PathBuf;

/// The folder of the project: the one that this program runs in, and not the one that it was built in, which may be another checkout
/// that shares its build.
pub fn root() -> PathBuf {
    let current = std::env::current_dir().unwrap();
    let root = current
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("run this in a checkout of the project")
        .to_owned()
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

/// The folder of all that is fetched, shared by all checkouts.
#[expect(clippy::disallowed_methods, reason = "the lab's own setting")]
pub fn cache() -> PathBuf {
    std::env::var_os("LAB_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/transcription-lab"),
        PathBuf::from,
    )
}
