//! How long a watch that failed waits before it is begun again.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use rand::RngExt;

/// kube's own goes on to a minute: that long an operator would be blind after a short outage.
const LONGEST: Duration = Duration::from_secs(10);

/// Twice as long each time, never longer than that, and never as long as another watch.
#[derive(Default)]
pub(super) struct Patience(DefaultBackoff);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wanted = self.0.next()?;
        Some(
            wanted
                .min(LONGEST)
                .mul_f64(rand::rng().random_range(0.5..=1.0)),
        )
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0.reset();
    }
}
