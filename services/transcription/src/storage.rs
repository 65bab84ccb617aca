//! The bucket: every object goes in and out here, by the AWS SDK.
//!
//! Requests are tried again by the SDK; each attempt and each operation has a time limit.

use std::fmt;
use std::future;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::{Instrument, warn};
use transcription_common::jwt::UserId;
use transcription_common::tls::TlsSettings;
use uuid::Uuid;

use self::hash::KnownHash;
use crate::audio::AudioFormat;
use crate::config::S3Settings;
use crate::error::causes;
use crate::metrics::TranscriptionMetrics;

mod client;
mod hash;
mod reader;

pub use client::client;
pub use reader::Recording;

const OPERATION_LIMIT: Duration = Duration::from_secs(90);
/// No manifest is larger, nor a text: a day of speech is a megabyte.
const MAX_SMALL_BYTES: usize = 16 * 1024 * 1024;
/// How long an answer about readiness is good for, and how long it may take: less than `healthcheck` waits, which then tells why.
const READINESS_AGE: Duration = Duration::from_secs(10);
const READINESS_LIMIT: Duration = Duration::from_secs(3);

/// The bucket, with a client that may be cloned freely.
#[derive(Clone)]
pub struct Storage {
    client: Client,
    bucket: Arc<str>,
    metrics: TranscriptionMetrics,
    readiness: Arc<Mutex<Option<Asked>>>,
}

/// What the bucket answered when it was asked whether it is there, and when that was.
struct Asked {
    at: Instant,
    answer: Result<(), String>,
}

/// A request to the bucket failed. The cause is for the log; it names keys, never their content.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing} in S3: {cause}")]
pub struct StorageError {
    doing: &'static str,
    cause: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotFound,
    Denied,
    Other,
}

impl StorageError {
    /// Something about an object is not as it has to be.
    pub fn new(doing: &'static str, cause: impl Into<String>) -> Self {
        Self {
            doing,
            cause: cause.into(),
            kind: Kind::Other,
        }
    }
}

impl Storage {
    /// Prepares the client. Asks nobody: a bucket that is not there is found by the first request.
    pub async fn connect(
        settings: S3Settings,
        tls: &TlsSettings,
        metrics: TranscriptionMetrics,
    ) -> anyhow::Result<Self> {
        let bucket = settings.s3_bucket_name.as_str().into();
        let client = client(settings, tls).await?;
        Ok(Self {
            client,
            bucket,
            metrics,
            readiness: Arc::default(),
        })
    }

    /// Stores a whole object, whose SHA-256 may be known already.
    pub async fn put(
        &self,
        key: &ObjectKey,
        content_type: &str,
        body: Bytes,
        sha256: Option<&str>,
    ) -> Result<(), StorageError> {
        let mut request = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .body(body.into())
            .customize();
        if let Some(sha256) = sha256 {
            request = request.interceptor(KnownHash(sha256.to_owned()));
        }
        self.timed("put_object", "putting an object", request.send())
            .await
            .map(drop)
    }

    /// Opens an upload in parts. It must be completed or aborted.
    pub async fn open_upload(
        &self,
        key: ObjectKey,
        content_type: &str,
    ) -> Result<OpenUpload, StorageError> {
        let doing = "opening an upload";
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type);
        let created = self
            .timed("create_multipart_upload", doing, request.send())
            .await?;
        let upload_id = created
            .upload_id
            .ok_or_else(|| StorageError::new(doing, "the answer has no upload id"))?;
        Ok(OpenUpload {
            storage: self.clone(),
            key,
            upload_id,
            parts: Vec::new(),
            in_flight: None,
            free: BytesMut::new(),
        })
    }

    /// The bytes `first..=last` of an object; fewer at its end.
    pub async fn get_range(
        &self,
        key: &ObjectKey,
        first: u64,
        last: u64,
    ) -> Result<Bytes, StorageError> {
        let range = Some(format!("bytes={first}-{last}"));
        let asked_bytes = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        let most_bytes = asked_bytes.saturating_add(1);
        self.get_object(key, range, most_bytes, "reading a range of an object")
            .await
    }

    /// A whole object, if it is there; for objects that are small.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StorageError> {
        let read = self.get_object(key, None, MAX_SMALL_BYTES, "reading an object");
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            // Who may not list a bucket is not told that an object is missing, but that it is denied.
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get_object(
        &self,
        key: &ObjectKey,
        range: Option<String>,
        most_bytes: usize,
        doing: &'static str,
    ) -> Result<Bytes, StorageError> {
        let read = async {
            let request = self
                .client
                .get_object()
                .bucket(&*self.bucket)
                .key(key.as_str())
                .set_range(range);
            let mut object = self.timed("get_object", doing, request.send()).await?;
            let told = object.content_length.unwrap_or_default();
            let told = usize::try_from(told).unwrap_or_default();
            let mut bytes = BytesMut::with_capacity(told.min(most_bytes));
            // The SDK's limits end with the headers; the body has to arrive in time too, and be no larger than it should be: others
            // may write to the bucket, and not every store knows ranges.
            while let Some(piece) = object.body.next().await {
                let piece = piece.map_err(|error| StorageError::new(doing, error.to_string()))?;
                if bytes.len() + piece.len() > most_bytes {
                    return Err(StorageError::new(doing, "the object is too large"));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        };
        tokio::time::timeout(OPERATION_LIMIT, read)
            .await
            .unwrap_or_else(|_| {
                let cause = "the object's bytes did not arrive in time";
                Err(StorageError::new(doing, cause))
            })
    }

    /// Whether the bucket answers: by a list of one key, which is asked for at most every 10 s. That the list is denied is good
    /// enough, since the answer shows that the key is known and the bucket is there.
    pub async fn answers(&self) -> Result<(), String> {
        // Held while it asks: the probes that come meanwhile have the same answer.
        let mut readiness = self.readiness.lock().await;
        if let Some(Asked { at, answer }) = &*readiness
            && at.elapsed() < READINESS_AGE
        {
            return answer.clone();
        }
        let request = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix("private/")
            .max_keys(1)
            .send();
        let listed = self.timed("list_objects_v2", "listing the bucket", request);
        let answer = match tokio::time::timeout(READINESS_LIMIT, listed).await {
            Ok(Err(error)) if error.kind != Kind::Denied => {
                warn!(
                    bucket = &*self.bucket,
                    %error,
                    "not ready: the bucket does not answer as it should; check S3_BUCKET_NAME, AWS_REGION, AWS_ENDPOINT_URL_S3 and the keys (transcription-service init-bucket makes a bucket)"
                );
                Err("it does not answer as it should.".to_owned())
            }
            Ok(_) => Ok(()),
            Err(_) => {
                self.metrics
                    .s3_operation("list_objects_v2", "timeout", READINESS_LIMIT);
                let limit_seconds = READINESS_LIMIT.as_secs();
                warn!(
                    bucket = &*self.bucket,
                    limit_seconds,
                    "not ready: the bucket did not answer in time; check AWS_ENDPOINT_URL_S3 and the network"
                );
                Err(format!("it did not answer within {limit_seconds} s."))
            }
        };
        *readiness = Some(Asked {
            at: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }

    /// Deletes an object; one that is not there is no error (S3's `DeleteObject`).
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let request = self
            .client
            .delete_object()
            .bucket(&*self.bucket)
            .key(key.as_str());
        self.timed("delete_object", "deleting an object", request.send())
            .await
            .map(drop)
    }

    /// Deletes an object that nobody may find. Best effort.
    pub async fn remove(&self, key: &ObjectKey) {
        if let Err(error) = self.delete(key).await {
            warn!(%error, %key, "an object of a recording that was not accepted may stay in the bucket: delete it if it is there");
        }
    }

    /// Sends a request, notes how long it took, and keeps of an error what we need.
    async fn timed<T, E>(
        &self,
        operation: &'static str,
        doing: &'static str,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, StorageError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let start = Instant::now();
        let result = request.await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => outcome_of(error),
        };
        self.metrics
            .s3_operation(operation, outcome, start.elapsed());
        result.map_err(|error| StorageError {
            kind: match error.code() {
                Some("NoSuchKey" | "NotFound") => Kind::NotFound,
                Some("AccessDenied") => Kind::Denied,
                _ => Kind::Other,
            },
            ..StorageError::new(doing, cause_of(&error))
        })
    }
}

/// What went wrong, without the body of S3's answer: that may have the key in it.
fn cause_of<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let SdkError::ServiceError(refused) = error {
        let status = refused.raw().status().as_u16();
        let code = error.code().unwrap_or("no code");
        return match error.message() {
            Some(message) if !message.is_empty() => format!("{status} {code}: {message}"),
            _ => format!("{status} {code}"),
        };
    }
    let causes = causes(error).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

fn outcome_of<E>(error: &SdkError<E>) -> &'static str {
    match error {
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout",
        SdkError::ServiceError(refused) if refused.raw().status().is_client_error() => {
            "client_error"
        }
        _ => "server_error",
    }
}

/// A multipart upload in progress. One part of it is in flight at a time.
pub struct OpenUpload {
    storage: Storage,
    key: ObjectKey,
    upload_id: String,
    parts: Vec<CompletedPart>,
    in_flight: Option<InFlightPart>,
    /// Where the part before was: memory to fill with the next one.
    free: BytesMut,
}

/// A part that is being sent. What it is in serves again for the part after the next.
struct InFlightPart {
    body: Bytes,
    sent: JoinHandle<Result<CompletedPart, StorageError>>,
}

impl OpenUpload {
    /// How many parts there are, the one that is in flight included.
    pub fn parts(&self) -> usize {
        self.parts.len() + usize::from(self.in_flight.is_some())
    }

    /// Begins to upload the next part, once the one before it has arrived: 5 MiB to 5 GiB, the last one may be smaller. Gives memory to
    /// fill with the part after it.
    ///
    /// Fails if the part before it did not arrive.
    pub async fn add_part(&mut self, body: Bytes) -> Result<BytesMut, StorageError> {
        self.finish_part().await?;
        let doing = "uploading a part";
        let number = i32::try_from(self.parts.len() + 1)
            .map_err(|_| StorageError::new(doing, "too many parts"))?;
        let storage = self.storage.clone();
        let request = storage
            .client
            .upload_part()
            .bucket(&*storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id)
            .part_number(number)
            .body(body.clone().into());
        let sent = async move {
            let part = storage.timed("upload_part", doing, request.send()).await?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .build())
        };
        self.in_flight = Some(InFlightPart {
            body,
            sent: tokio::spawn(sent.in_current_span()),
        });
        Ok(mem::take(&mut self.free))
    }

    /// Waits until it is known that the part in flight does not arrive: for ever if it does. May be given up at any moment.
    pub async fn failure(&mut self) -> StorageError {
        match self.finish_part().await {
            Ok(()) => future::pending().await,
            Err(error) => error,
        }
    }

    /// Waits until the part in flight has arrived. May be given up at any moment.
    pub async fn finish_part(&mut self) -> Result<(), StorageError> {
        let Some(InFlightPart { sent, .. }) = &mut self.in_flight else {
            return Ok(());
        };
        let sent = sent.await;
        let body = self.in_flight.take().map(|part| part.body);
        let part =
            sent.map_err(|error| StorageError::new("uploading a part", error.to_string()))??;
        self.parts.push(part);
        let body = body.unwrap_or_default();
        self.free = body.try_into_mut().unwrap_or_default();
        self.free.clear();
        Ok(())
    }

    /// Makes the parts one object.
    pub async fn complete(&mut self) -> Result<(), StorageError> {
        self.finish_part().await?;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.parts.clone()))
            .build();
        let request = self
            .storage
            .client
            .complete_multipart_upload()
            .bucket(&*self.storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id)
            .multipart_upload(parts);
        let completed = request.send();
        self.storage
            .timed(
                "complete_multipart_upload",
                "completing an upload",
                completed,
            )
            .await
            .map(drop)
    }

    /// Drops the parts. Best effort: what stays open is for the bucket's lifecycle rule.
    pub async fn abort(mut self) {
        // A part that arrives later would stay.
        let _ = self.finish_part().await;
        let request = self
            .storage
            .client
            .abort_multipart_upload()
            .bucket(&*self.storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id);
        let aborted = request.send();
        let aborted = self
            .storage
            .timed("abort_multipart_upload", "aborting an upload", aborted);
        if let Err(error) = aborted.await {
            warn!(%error, key = %self.key, "an upload could not be aborted and stays open in the bucket");
        }
    }
}

/// The name of an object. Made only from a verified user id and an id of ours: nothing that a client wrote is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Where the audio of a transcription is.
    pub fn audio(user: &UserId, id: Uuid, format: AudioFormat) -> Self {
        Self(format!("private/{user}/audio/{id}.{}", format.extension()))
    }

    /// Where the text of a transcription is.
    pub fn transcript(user: &UserId, id: Uuid) -> Self {
        Self(format!("private/{user}/transcripts/{id}.txt"))
    }

    /// Where the manifest of a transcription is.
    pub fn manifest(user: &UserId, id: Uuid) -> Self {
        Self(format!("private/{user}/manifests/{id}.json"))
    }

    /// The key as S3 has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
