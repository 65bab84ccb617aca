//! How long each watch has heard nothing. A connection can be dead without anybody noticing: the operator would be deaf, and look healthy.
//!
//! A healthy watch hears from the API server about once a minute, if only a bookmark. kube does not tell those, so they are heard one
//! layer below: whatever comes on the connection of a watch counts. Of a kind that nothing happens to there may be no bookmark for ten
//! minutes: how far it is the API server learns from etcd, whose own interval that is. But kube begins each watch anew after five
//! minutes, and that it is accepted counts too.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use kube::Resource;
use tower::{BoxError, Layer, Service};

use crate::service_monitor::ServiceMonitor;

/// When each watch last heard something, by its address.
#[derive(Clone, Default)]
pub struct Silence(Arc<Mutex<BTreeMap<String, Instant>>>);

impl Silence {
    /// The watches that have heard nothing for this long, in words.
    pub fn longer_than(&self, limit: Duration) -> Vec<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = heard.iter().filter(|(_, heard)| heard.elapsed() > limit);
        silent
            .map(|(watch, heard)| format!("{watch} for {} s", heard.elapsed().as_secs()))
            .collect()
    }

    /// How long each watch has heard nothing, by its resource.
    pub fn ages(&self) -> Vec<(String, Duration)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = heard.iter().map(|(watch, heard)| {
            let address = watch.split(' ').next().unwrap_or_default();
            let resource = address.rsplit('/').next().unwrap_or_default();
            (resource.to_owned(), heard.elapsed())
        });
        ages.collect()
    }

    /// Something was heard.
    fn hear(&self, watch: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(watch.to_owned(), Instant::now());
    }

    /// There is nothing to be heard: the cluster has no such kind.
    fn forget(&self, watch: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.remove(watch);
    }

    /// From now on something is to be heard.
    fn listen(&self, watch: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(watch.to_owned()).or_insert_with(Instant::now);
    }
}

/// Puts the ear between kube and its connections.
#[derive(Clone)]
pub struct Ear(pub Silence);

impl<S> Layer<S> for Ear {
    type Service = Listening<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Listening {
            inner,
            silence: self.0.clone(),
        }
    }
}

/// A service whose watches are heard.
#[derive(Clone)]
pub struct Listening<S> {
    inner: S,
    silence: Silence,
}

impl<S, B, R> Service<Request<B>> for Listening<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let watch = watch_of(&request);
        let silence = self.silence.clone();
        if let Some(watch) = &watch {
            silence.listen(watch);
        }
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if answer.status() == StatusCode::NOT_FOUND && is_of_optional_kind(&path) {
                silence.forget(&path);
            }
            if let (Some(watch), true) = (&watch, answer.status().is_success()) {
                silence.hear(watch);
            }
            Ok(answer.map(|body| match watch {
                Some(watch) => body
                    .map_frame(move |frame| {
                        silence.hear(&watch);
                        frame
                    })
                    .map_err(Into::into)
                    .boxed_unsync(),
                None => body.map_err(Into::into).boxed_unsync(),
            }))
        })
    }
}

/// Whether an address is that of a kind which a cluster need not have. A kind that it must have is missed.
fn is_of_optional_kind(path: &str) -> bool {
    let resource = path.rsplit('/').next();
    resource == Some(&ServiceMonitor::plural(&()))
}

/// The address of a watch, if the request is one. Of some kinds there are two: of the whole objects, and of their metadata.
fn watch_of<B>(request: &Request<B>) -> Option<String> {
    if !is_watch(request.uri().query()?) {
        return None;
    }
    let accepted = request
        .headers()
        .get("accept")
        .and_then(|value| value.to_str().ok());
    let of_metadata = accepted.is_some_and(|accepted| accepted.contains("PartialObjectMetadata"));
    let suffix = if of_metadata { " (metadata)" } else { "" };
    Some(format!("{}{suffix}", request.uri().path()))
}

/// Whether the query of a request asks for a watch.
pub fn is_watch(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair == "watch=true" || pair == "watch=1")
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn ask(silence: &Silence, status: StatusCode) {
        let server = service_fn(move |_: Request<()>| async move {
            let answer = Response::builder().status(status);
            Ok::<_, BoxError>(answer.body(Empty::<Bytes>::new()).unwrap())
        });
        let request = Request::get("/apis/apps/v1/deployments?watch=true");
        let ear = Ear(silence.clone()).layer(server);
        ear.oneshot(request.body(()).unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_that_is_accepted_was_heard_and_one_that_is_refused_was_not() {
        const PAUSE: Duration = Duration::from_millis(50);
        let silence = Silence::default();
        let age = || silence.ages()[0].1;
        ask(&silence, StatusCode::OK).await;

        tokio::time::sleep(PAUSE).await;
        ask(&silence, StatusCode::INTERNAL_SERVER_ERROR).await;
        let before = age();
        ask(&silence, StatusCode::OK).await;

        assert!(before >= PAUSE);
        assert!(age() < before);
    }
}
