//! The bucket: every object goes in and out here, by the AWS SDK.
//!
//! Requests are tried again by the SDK; each attempt and each operation has a time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use secrecy::ExposeSecret;
use tracing::warn;
use transcription_common::jwt::UserId;
use uuid::Uuid;

use crate::audio::AudioFormat;
use crate::config::S3Settings;

mod reader;

pub use reader::Recording;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
const OPERATION_LIMIT: Duration = Duration::from_secs(90);

/// The bucket, with a client that may be cloned freely.
#[derive(Clone)]
pub struct Storage {
    client: Client,
    bucket: Arc<str>,
}

/// A request to the bucket failed. The cause is for the log; it names keys, never their content.
#[derive(Debug, thiserror::Error)]
#[error("{doing} in S3: {cause}")]
pub struct StorageError {
    doing: &'static str,
    cause: String,
}

impl Storage {
    /// Prepares the client. Asks nobody: a bucket that is not there is found by the first request.
    pub async fn connect(settings: S3Settings) -> Self {
        let S3Settings {
            s3_bucket_name,
            aws_access_key_id,
            aws_secret_access_key,
            aws_region,
            aws_endpoint_url_s3,
            s3_force_path_style,
        } = settings;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .operation_timeout(OPERATION_LIMIT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(region) = aws_region {
            loader = loader.region(Region::new(region));
        }
        if let (Some(id), Some(secret)) = (aws_access_key_id, aws_secret_access_key) {
            let secret = secret.expose_secret();
            let given = Credentials::new(id, secret, None, None, "settings");
            loader = loader.credentials_provider(given);
        }
        let mut config = aws_sdk_s3::config::Builder::from(&loader.load().await)
            .force_path_style(s3_force_path_style)
            // S3-like stores refuse the newer checksums; the manifest has our own SHA-256.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = aws_endpoint_url_s3 {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
            bucket: s3_bucket_name.into(),
        }
    }

    /// Stores a whole object.
    pub async fn put(
        &self,
        key: &ObjectKey,
        content_type: &str,
        body: Bytes,
    ) -> Result<(), StorageError> {
        self.client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .body(body.into())
            .send()
            .await
            .map(drop)
            .map_err(failed("putting an object"))
    }

    /// Opens an upload in parts. It must be completed or aborted.
    pub async fn open_upload(
        &self,
        key: ObjectKey,
        content_type: &str,
    ) -> Result<OpenUpload, StorageError> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .send()
            .await
            .map_err(failed("opening an upload"))?;
        let upload_id = created.upload_id.ok_or_else(|| StorageError {
            doing: "opening an upload",
            cause: "the answer has no upload id".to_owned(),
        })?;
        Ok(OpenUpload {
            storage: self.clone(),
            key,
            upload_id,
            parts: Vec::new(),
        })
    }

    /// The bytes `first..=last` of an object; fewer at its end.
    pub async fn get_range(
        &self,
        key: &ObjectKey,
        first: u64,
        last: u64,
    ) -> Result<Bytes, StorageError> {
        let doing = "reading a range of an object";
        let read = async {
            let object = self
                .client
                .get_object()
                .bucket(&*self.bucket)
                .key(key.as_str())
                .range(format!("bytes={first}-{last}"))
                .send()
                .await
                .map_err(failed(doing))?;
            // The SDK's limits end with the headers; the body has to arrive in time too.
            let body = object.body.collect().await.map_err(|error| StorageError {
                doing,
                cause: error.to_string(),
            })?;
            Ok(body.into_bytes())
        };
        tokio::time::timeout(OPERATION_LIMIT, read)
            .await
            .unwrap_or_else(|_| {
                let cause = "the object's bytes did not arrive in time".to_owned();
                Err(StorageError { doing, cause })
            })
    }

    /// Deletes an object; one that is not there is no error (S3's `DeleteObject`).
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.client
            .delete_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .send()
            .await
            .map(drop)
            .map_err(failed("deleting an object"))
    }
}

/// A multipart upload in progress.
pub struct OpenUpload {
    storage: Storage,
    key: ObjectKey,
    upload_id: String,
    parts: Vec<CompletedPart>,
}

impl OpenUpload {
    /// Uploads the next part: 5 MiB to 5 GiB, the last one may be smaller.
    pub async fn add_part(&mut self, body: Bytes) -> Result<(), StorageError> {
        let doing = "uploading a part";
        let number = i32::try_from(self.parts.len() + 1).map_err(|_| StorageError {
            doing,
            cause: "too many parts".to_owned(),
        })?;
        let part = self
            .storage
            .client
            .upload_part()
            .bucket(&*self.storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id)
            .part_number(number)
            .body(body.into())
            .send()
            .await
            .map_err(failed(doing))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .build();
        self.parts.push(part);
        Ok(())
    }

    /// Makes the parts one object.
    pub async fn complete(&mut self) -> Result<(), StorageError> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.parts.clone()))
            .build();
        self.storage
            .client
            .complete_multipart_upload()
            .bucket(&*self.storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map(drop)
            .map_err(failed("completing an upload"))
    }

    /// Drops the parts. Best effort: what stays open is for the bucket's lifecycle rule.
    pub async fn abort(self) {
        let aborted = self
            .storage
            .client
            .abort_multipart_upload()
            .bucket(&*self.storage.bucket)
            .key(self.key.as_str())
            .upload_id(&self.upload_id)
            .send()
            .await;
        if let Err(error) = aborted {
            let cause = DisplayErrorContext(error).to_string();
            warn!(cause, key = %self.key, "an upload could not be aborted and stays open in the bucket");
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

fn failed<E, R>(doing: &'static str) -> impl FnOnce(SdkError<E, R>) -> StorageError
where
    SdkError<E, R>: std::error::Error,
{
    move |error| StorageError {
        doing,
        cause: DisplayErrorContext(error).to_string(),
    }
}
