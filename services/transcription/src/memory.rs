//! The memory that the allocator keeps for later.

use tracing::warn;

/// From now on a thread of jemalloc's gives back what is no longer used. Without it that happens when memory is asked for, which after
/// the last request may be late.
pub fn give_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        warn!(%error, "jemalloc's thread cannot be started: freed memory goes back to the system late");
    }
}
