//! Counts what the API server is asked: one layer below kube, where every request passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response, StatusCode};
use prometheus::IntCounterVec;
use tower::{Layer, Service};

/// Puts the counter between kube and its connections.
#[derive(Clone)]
pub struct Counter(pub IntCounterVec);

impl<S> Layer<S> for Counter {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting {
            inner,
            requests: self.0.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    requests: IntCounterVec,
}

impl<S, B, R> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = Asked::of(&request);
        let mut count = Count {
            asked,
            requests: self.requests.clone(),
            code: "error".to_owned(),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                count.is_answered(answer.status());
            }
            answer
        })
    }
}

/// Counts a request when it is over: also if nobody waits for its answer any more.
struct Count {
    asked: Asked,
    requests: IntCounterVec,
    code: String,
}

impl Count {
    fn is_answered(&mut self, status: StatusCode) {
        self.code = status.as_u16().to_string();
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let Asked { verb, resource } = &self.asked;
        self.requests
            .with_label_values(&[*verb, resource, &self.code])
            .inc();
    }
}

/// What a request asks for, in Kubernetes's words (<https://kubernetes.io/docs/reference/using-api/api-concepts/>).
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    verb: &'static str,
    resource: String,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let is_watch = uri.query().is_some_and(crate::silence::is_watch);
        let (resource, is_one) = resource(uri.path());
        let verb = match *request.method() {
            Method::GET if is_watch => "watch",
            Method::GET if is_one => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }
}

/// The resource of a path, with its subresource, and whether one object of it is meant:
/// `/apis/<group>/<version>/namespaces/<namespace>/<resource>/<name>/<subresource>`.
fn resource(path: &str) -> (String, bool) {
    let mut parts = path.trim_matches('/').split('/');
    let version = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return ("other".to_owned(), true),
    };
    let mut parts = parts.skip(version).collect::<Vec<_>>();
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts.drain(..2);
    }
    match parts[..] {
        [resource] => (resource.to_owned(), false),
        [resource, _] => (resource.to_owned(), true),
        [resource, _, subresource] => (format!("{resource}/{subresource}"), true),
        _ => ("other".to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_kubernetes_names_them() {
        for (method, address, verb, resource) in [
            ("GET", "/api/v1/namespaces/a/secrets/b", "get", "secrets"),
            ("GET", "/api/v1/secrets?limit=500", "list", "secrets"),
            (
                "GET",
                "/api/v1/namespaces/a/pods?watch=true",
                "watch",
                "pods",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b?force=true",
                "patch",
                "deployments",
            ),
            (
                "PATCH",
                "/apis/transcription.dev/v1alpha1/namespaces/a/transcriptionstacks/b/status",
                "patch",
                "transcriptionstacks/status",
            ),
            (
                "POST",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases",
                "create",
                "leases",
            ),
            ("GET", "/version", "get", "other"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(address)
                .body(())
                .unwrap();

            let expected = Asked {
                verb,
                resource: resource.to_owned(),
            };
            assert_eq!(Asked::of(&request), expected, "{method} {address}");
        }
    }
}
