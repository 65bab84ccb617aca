//! When work that nobody needs any more has to end.

use std::time::Instant;

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// When to stop, although there is more to do.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Nobody waits any more.
    pub deadline: Instant,
    /// The service ends.
    pub cut: CancellationToken,
}

/// The time was over, or the service ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it was stopped")]
pub struct Stopped;

impl Stop {
    /// Asked between two steps, neither of which takes long.
    pub fn check(&self) -> Result<(), Stopped> {
        if Instant::now() >= self.deadline || self.cut.is_cancelled() {
            return Err(Stopped);
        }
        Ok(())
    }

    /// Ends when it is time to stop.
    pub async fn reached(&self) {
        tokio::select! {
            () = sleep_until(self.deadline.into()) => {}
            () = self.cut.cancelled() => {}
        }
    }
}
