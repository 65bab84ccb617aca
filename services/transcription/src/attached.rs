//! Work that goes on when nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

/// Work of whoever awaits it: it runs there as long as that one is there, and then in a task of its own. In such a task from the start it would
/// be woken for each piece of an upload, mostly on another thread.
///
/// It is to be awaited once, and must not panic: in a task of its own nobody would hear of that.
pub struct Attached<T: Send + 'static> {
    work: Option<Pin<Box<Work<T>>>>,
    span: Span,
}

type Work<T> = dyn Future<Output = T> + Send;

impl<T: Send + 'static> Attached<T> {
    /// Begins when it is awaited. `tracker` knows of it until it has ended, wherever that is.
    pub fn new(tracker: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Some(Box::pin(tracker.track_future(work))),
            span: Span::current(),
        }
    }
}

impl<T: Send + 'static> Future for Attached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else {
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
            runtime.spawn(work.instrument(self.span.clone()));
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
        assert_eq!(tracker.len(), 1);
        go.send(5).unwrap();

        assert_eq!(is_done.await.unwrap(), Ok(5));
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn work_that_has_ended_is_told_and_the_tracker_forgets_it() {
        let tracker = TaskTracker::new();

        assert_eq!(Attached::new(&tracker, async { 5 }).await, 5);

        tracker.close();
        tracker.wait().await;
    }
}
