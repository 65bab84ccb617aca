//! Work that goes on when nobody waits for it any more.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Work of whoever awaits it: it runs there as long as that one is there, and then in a task of its own. In such a task from the start it would
/// be woken for each piece of an upload, mostly on another thread.
///
/// Fails if the work panics.
pub struct Attached<T: Send + 'static> {
    work: Option<Pin<Box<Work<T>>>>,
}

type Work<T> = dyn Future<Output = Result<T, Panic>> + Send;
type Panic = Box<dyn Any + Send>;

impl<T: Send + 'static> Attached<T> {
    /// Begins when it is awaited. `tracker` knows of it until it has ended, wherever that is.
    pub fn new(tracker: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
        Self {
            work: Some(Box::pin(tracker.track_future(work.in_current_span()))),
        }
    }
}

impl<T: Send + 'static> Future for Attached<T> {
    type Output = Result<T, Panic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            // It has ended, and told so.
            return Poll::Pending;
        };
        let done = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(done)
    }
}

impl<T: Send + 'static> Drop for Attached<T> {
    fn drop(&mut self) {
        // Without a runtime the program is at its end.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it_any_more() {
        let tracker = TaskTracker::new();
        let (go, may_go) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut work = Attached::new(&tracker, async move {
            let told: Result<u32, _> = may_go.await;
            done.send(told).unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());

        drop(work);
        go.send(5).unwrap();

        assert_eq!(is_done.await.unwrap(), Ok(5));
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_the_tracker_forgets_it() {
        let tracker = TaskTracker::new();
        let works = Attached::new(&tracker, async { 5 });
        let breaks = Attached::new(&tracker, async { panic!("a fault, caused on purpose") });

        assert_eq!(works.await.unwrap(), 5);
        let broken: Result<(), _> = breaks.await;

        assert!(broken.is_err());
        tracker.close();
        tracker.wait().await;
    }
}
