//! Asks Google, again where that helps, within one time budget.

use std::time::{Duration, Instant};

use rand::RngExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::{sleep, timeout};
use tracing::{Span, warn};
use url::Url;

use super::refusal::{self, Refusal};
use super::request::RequestBody;
use crate::error::{Error, find_cause};
use crate::metrics::{RetryReason, TranscriptionMetrics};
use crate::storage::StorageError;

/// Google's own clients ask five times.
const MAX_ATTEMPTS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// A wait longer than this is no wait but a refusal.
const LONGEST_ASKED_DELAY: Duration = Duration::from_mins(5);
const KEY_HEADER: &str = "x-goog-api-key";
/// Bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const REFUSAL_LIMIT: Duration = Duration::from_secs(10);

/// What is needed to ask, for one transcription.
#[derive(Clone)]
pub struct Asker {
    /// The HTTP client.
    pub client: Client,
    /// The key. Only ever in its header.
    pub key: HeaderValue,
    /// Google's address, or another one.
    pub base_url: Url,
    /// What to count in.
    pub metrics: TranscriptionMetrics,
    /// When the time is over.
    pub deadline: Instant,
    /// How much time there was.
    pub limit: Duration,
}

/// A request with the body that the transcription needs.
pub trait WithBody {
    /// Sends JSON of a known length.
    fn with_body(self, body: RequestBody) -> Self;
}

impl WithBody for RequestBuilder {
    fn with_body(self, body: RequestBody) -> Self {
        let RequestBody { body, length_bytes } = body;
        self.header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, length_bytes)
            .body(body)
    }
}

impl Asker {
    /// An address below the base.
    pub fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.base_url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}"))
            .map_err(|error| Error::EngineMisconfigured(anyhow::Error::new(error)))
    }

    /// Sends a request with the key, as often as it takes to get an answer. The answer is a success, of which no byte of the body
    /// has been read yet.
    pub async fn send(
        &self,
        request: impl Fn() -> Result<RequestBuilder, Error>,
    ) -> Result<Response, Error> {
        for attempt in 1.. {
            let builder = request()?
                .header(KEY_HEADER, self.key.clone())
                .timeout(self.left()?);
            let refusal = match builder.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => self.refusal_of(response).await,
                Err(error) => self.refusal_of_connection(error)?,
            };
            self.pause(attempt, refusal).await?;
        }
        Err(self.too_late())
    }

    /// Waits before the next attempt, if there is one.
    pub async fn pause(&self, attempt: u32, refusal: Refusal) -> Result<(), Error> {
        let (reason, delay, last) = match refusal {
            Refusal::Final(error) => return Err(error),
            Refusal::Again {
                reason,
                delay,
                last,
            } => (reason, delay, last),
        };
        let delay = delay.unwrap_or_else(|| backoff(attempt));
        let left = self.deadline.saturating_duration_since(Instant::now());
        if attempt >= MAX_ATTEMPTS || delay > LONGEST_ASKED_DELAY || delay >= left {
            return Err(last);
        }
        warn!(
            attempt,
            reason = reason.name(),
            delay_seconds = delay.as_secs_f64(),
            "Gemini did not answer, will ask again"
        );
        self.metrics.retry(reason);
        Span::current().record("http.request.resend_count", attempt);
        sleep(delay).await;
        Ok(())
    }

    /// The time that is left.
    pub fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.too_late());
        }
        Ok(left)
    }

    /// The time is over.
    pub fn too_late(&self) -> Error {
        Error::EngineTimeout {
            limit_seconds: self.limit.as_secs(),
        }
    }

    /// What an answer that is no success means.
    pub async fn refusal_of(&self, mut response: Response) -> Refusal {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_REFUSAL_BYTES {
                    break;
                }
            }
        };
        // What has come by then has to do.
        let _ = timeout(REFUSAL_LIMIT, read).await;
        refusal::of(status, &headers, &body)
    }

    /// No answer came. It is worth another try unless the time is over, or it was the storage that could not give the recording.
    pub fn refusal_of_connection(&self, error: reqwest::Error) -> Result<Refusal, Error> {
        if error.is_timeout() && !error.is_connect() {
            return Err(self.too_late());
        }
        if let Some(error) = find_cause::<StorageError>(&error) {
            return Err(Error::Storage(error.clone()));
        }
        let error = anyhow::Error::new(error.without_url());
        Ok(Refusal::Again {
            reason: RetryReason::Connection,
            delay: None,
            last: Error::Engine(error.context("Gemini cannot be reached")),
        })
    }
}

/// Full jitter: between nothing and 1 s, 2 s, 4 s, so that those who were refused together do not come back together.
fn backoff(attempt: u32) -> Duration {
    let most = FIRST_DELAY
        .saturating_mul(1 << (attempt - 1).min(10))
        .min(LONGEST_DELAY);
    most.mul_f64(rand::rng().random_range(0.0..=1.0))
}
