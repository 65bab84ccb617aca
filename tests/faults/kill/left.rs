//! What is left of a recording: in the bucket, on the disk, and what the service tells of it. What is not true or not whole has a name
//! of its own here, which no table expects.

use std::fs;
use std::path::Path;

use aws_sdk_s3::types::MultipartUpload;
use serde_json::Value;
use transcription_tests::files::sha256_of;
use transcription_tests::seaweedfs::{BUCKET, SeaweedFs};
use transcription_tests::transcription::Transcription;

/// A recording that was sent.
pub struct Sent {
    /// Whose it is.
    pub user: String,
    /// Its id, which the client may never have heard of.
    pub id: String,
    /// Its bytes.
    pub wav: Vec<u8>,
    /// Its text, if the engine is one that a test can foresee.
    pub text: Option<String>,
}

impl Sent {
    fn key(&self, folder: &str, extension: &str) -> String {
        let Self { user, id, .. } = self;
        format!("private/{user}/{folder}/{id}.{extension}")
    }

    /// The keys of what is there of it.
    pub async fn keys(&self, s3: &SeaweedFs) -> Vec<String> {
        let keys = s3.keys().await;
        let own = format!("private/{}/", self.user);
        let is_of_it = |key: &String| key.starts_with(&own) && key.contains(&self.id);
        keys.into_iter().filter(is_of_it).collect()
    }

    /// What is there of it, in words.
    pub async fn in_bucket(&self, s3: &SeaweedFs) -> String {
        let mut found = Vec::new();
        for key in self.keys(s3).await {
            let (bytes, content_type) = s3.object(&key).await;
            found.push(match key {
                key if key == self.key("audio", "wav") => self.name_of_audio(&bytes, &content_type),
                key if key == self.key("manifests", "json") => {
                    self.name_of_manifest(s3, &bytes).await
                }
                key if key == self.key("transcripts", "txt") => self.name_of_text(&bytes),
                other => other,
            });
        }
        for upload in open_uploads(s3).await {
            if upload.key() == Some(&self.key("audio", "wav")) {
                found.push(name_of_upload(s3, &upload).await);
            }
        }
        or_nothing(&found)
    }

    fn name_of_audio(&self, bytes: &[u8], content_type: &str) -> String {
        if bytes == self.wav && content_type == "audio/wav" {
            return "audio".to_owned();
        }
        let (there, sent) = (bytes.len(), self.wav.len());
        format!("{there} of {sent} bytes of the audio as {content_type}")
    }

    fn name_of_text(&self, bytes: &[u8]) -> String {
        match &self.text {
            Some(text) if text.as_bytes() != bytes => {
                format!("{} of {} bytes of the text", bytes.len(), text.len())
            }
            _ => "text".to_owned(),
        }
    }

    /// Its state, if everything in it is as it is in the bucket.
    async fn name_of_manifest(&self, s3: &SeaweedFs, bytes: &[u8]) -> String {
        let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else {
            return "no manifest but its beginning".to_owned();
        };
        let state = manifest["state"].as_str().unwrap_or_default();
        let mut true_of = vec![
            manifest["schema_version"] == 1,
            manifest["id"] == self.id,
            manifest["user_id"] == self.user,
            manifest["filename"] == "a.wav",
            manifest["created_at"].is_string(),
            manifest["completed_at"].is_string() == (state != "stored"),
            manifest["transcript"].is_object() == (state == "complete"),
            manifest["code"].is_string() == (state == "failed"),
            is_true_of(&manifest["audio"], &self.key("audio", "wav"), s3).await,
        ];
        if state == "complete" {
            let key = self.key("transcripts", "txt");
            true_of.push(is_true_of(&manifest["transcript"], &key, s3).await);
        }
        if true_of.into_iter().all(|is_true| is_true) {
            format!("manifest ({state})")
        } else {
            format!("untrue manifest {manifest}")
        }
    }

    /// What `GET /transcriptions/{id}` tells of it, in words.
    pub async fn told(&self, stack: &Transcription) -> String {
        let answer = stack.ask(&self.user, &self.id).await;
        let state = answer.json["state"].as_str().unwrap_or_default();
        let text = answer.json.get("transcription");
        let is_whole = answer.json["id"] == self.id
            && answer.json["filename"] == "a.wav"
            && answer.json["audio_key"] == self.key("audio", "wav")
            && answer.json.get("storage").is_none();
        match (answer.status.as_u16(), state, text) {
            (404, _, None) if answer.json["code"] == "transcription_not_found" => "404".to_owned(),
            (200, "stored", None) if is_whole => "stored".to_owned(),
            (200, "failed", None) if is_whole => {
                format!("failed ({})", answer.json["code"].as_str().unwrap())
            }
            (200, "complete", Some(text)) if is_whole && self.is_text(stack, text).await => {
                "complete, its text".to_owned()
            }
            _ => answer.text,
        }
    }

    /// Whether this is the text in the bucket, and what should have been heard.
    async fn is_text(&self, stack: &Transcription, text: &Value) -> bool {
        let stored = stack.s3.object(&self.key("transcripts", "txt")).await.0;
        let foreseen = self.text.as_ref().is_none_or(|foreseen| text == foreseen);
        foreseen && text.as_str().is_some_and(|text| text.as_bytes() == stored)
    }
}

/// Whether a manifest says of an object what is true.
async fn is_true_of(told: &Value, key: &str, s3: &SeaweedFs) -> bool {
    if !s3.keys().await.iter().any(|there| there == key) {
        return false;
    }
    let (bytes, _) = s3.object(key).await;
    told["key"] == key && told["size_bytes"] == bytes.len() && told["sha256"] == sha256_of(&bytes)
}

/// The uploads that are open in the bucket.
pub async fn open_uploads(s3: &SeaweedFs) -> Vec<MultipartUpload> {
    let listed = s3.client.list_multipart_uploads().bucket(BUCKET).send();
    let listed = listed.await.unwrap();
    assert_ne!(
        listed.is_truncated,
        Some(true),
        "more uploads than a test leaves"
    );
    listed.uploads.unwrap_or_default()
}

async fn name_of_upload(s3: &SeaweedFs, upload: &MultipartUpload) -> String {
    let parts = s3
        .client
        .list_parts()
        .bucket(BUCKET)
        .set_key(upload.key.clone())
        .set_upload_id(upload.upload_id.clone());
    let parts = parts.send().await.unwrap().parts.unwrap_or_default();
    match parts.len() {
        1 => "open upload (1 part)".to_owned(),
        count => format!("open upload ({count} parts)"),
    }
}

/// Some words with commas between them.
pub fn or_nothing<T: AsRef<str>>(words: &[T]) -> String {
    if words.is_empty() {
        return "nothing".to_owned();
    }
    let words = words.iter().map(AsRef::as_ref).collect::<Vec<_>>();
    words.join(", ")
}

/// The files that a process has open, but for devices, sockets and its log.
pub fn open_files(process: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = descriptors.filter_map(|descriptor| {
        let target = fs::read_link(descriptor.unwrap().path()).ok()?;
        Some(target.display().to_string())
    });
    let is_spooled = |target: &String| {
        target.starts_with('/') && !target.starts_with("/dev/") && !target.ends_with("/log")
    };
    targets.filter(is_spooled).collect()
}

/// The names of what is in a folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names = entries
        .map(|entry| entry.unwrap().file_name().display().to_string())
        .collect::<Vec<_>>();
    names.sort_unstable();
    names
}
