//! What an operator does by hand: prepare a bucket, and show that a whole stack works.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
};
use reqwest::multipart::{Form, Part};
use transcription_common::settings::say;
use transcription_common::tls::TlsSettings;

use crate::config::{S3Settings, SmokeSettings};
use crate::storage;

/// Amazon's region that wants no location constraint.
const DEFAULT_REGION: &str = "us-east-1";
/// Uploads that are left open (by a crash, say) are dropped after a day.
const ABORT_AFTER_DAYS: i32 = 1;
/// About a second of speech: the first words of LibriVox's reading of Sense and Sensibility (public domain).
const SPEECH: &[u8] = include_bytes!("../data/speech.wav");

/// Makes the bucket if it is not there, and gives it a rule that drops uploads that were left open. Other rules stay as they are.
///
/// A store that has no such rules is named; the bucket is good all the same.
pub async fn init_bucket(settings: S3Settings, tls: TlsSettings) -> anyhow::Result<()> {
    let bucket = settings.s3_bucket_name.clone();
    let client = storage::client(settings, &tls).await?;
    if make(&client, &bucket).await? {
        say(&format!("Made: bucket {bucket}."))?;
    } else {
        say(&format!("Bucket {bucket} is there."))?;
    }
    match set_lifecycle(&client, &bucket).await {
        Ok(()) => say(&format!(
            "Uploads that are left open are dropped after {ABORT_AFTER_DAYS} day."
        )),
        Err(error) => say(&format!(
            "This store takes no rule for uploads that are left open ({error:#}): drop them in another way."
        )),
    }
}

/// Whether there was none before.
async fn make(client: &Client, bucket: &str) -> anyhow::Result<bool> {
    if client.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(false);
    }
    let region = client.config().region().map(ToString::to_string);
    let place = region
        .filter(|region| region != DEFAULT_REGION)
        .map(|region| {
            let region = BucketLocationConstraint::from(region.as_str());
            CreateBucketConfiguration::builder()
                .location_constraint(region)
                .build()
        });
    let request = client
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(place);
    match request.send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(false),
        Err(error) => {
            anyhow::bail!(
                "the bucket {bucket} cannot be made: {}",
                DisplayErrorContext(error)
            )
        }
    }
}

async fn set_lifecycle(client: &Client, bucket: &str) -> anyhow::Result<()> {
    let told = |code: Option<&str>| anyhow::anyhow!("{}", code.unwrap_or("no reason is given"));
    // A bucket has one set of rules, which is written as a whole.
    let there = client
        .get_bucket_lifecycle_configuration()
        .bucket(bucket)
        .send()
        .await;
    let mut rules = match there {
        Ok(there) => there.rules.unwrap_or_default(),
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Vec::new(),
        Err(error) => return Err(told(error.code())),
    };
    let own = abort_rule()?;
    if rules.contains(&own) {
        return Ok(());
    }
    rules.retain(|rule| rule.id() != own.id());
    rules.push(own);
    let rules = BucketLifecycleConfiguration::builder()
        .set_rules(Some(rules))
        .build()?;
    let request = client
        .put_bucket_lifecycle_configuration()
        .bucket(bucket)
        .lifecycle_configuration(rules);
    let set = request.send().await;
    set.map(drop).map_err(|error| told(error.code()))
}

fn abort_rule() -> anyhow::Result<LifecycleRule> {
    let abort = AbortIncompleteMultipartUpload::builder()
        .days_after_initiation(ABORT_AFTER_DAYS)
        .build();
    let rule = LifecycleRule::builder()
        .id("abort-incomplete-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("private/").build())
        .abort_incomplete_multipart_upload(abort)
        .build()?;
    Ok(rule)
}

/// Logs in and transcribes the second of speech.
///
/// Fails with a sentence that names the step.
pub async fn smoke(settings: SmokeSettings) -> anyhow::Result<()> {
    let SmokeSettings {
        auth_url,
        transcription_url,
        timeout_seconds,
        visitor,
    } = settings;
    let limit = Duration::from_secs(timeout_seconds.get());
    let session = visitor.log_in(&auth_url, limit).await?;
    let form = Form::new().part("file", Part::bytes(SPEECH).file_name("smoke.wav"));
    let request = session
        .post(&transcription_url, "transcribe")
        .multipart(form);
    let transcription = session.send(request, "transcribing").await?;
    let text = transcription["transcription"].as_str().unwrap_or_default();
    let id = transcription["id"].as_str().unwrap_or_default();
    say(&format!("It works: {id} was heard as \"{text}\"."))
}
