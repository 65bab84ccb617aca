//! What is in the bucket in the end, and whether all of it is as the clients were told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;
use transcription_tests::files::sha256_of;
use transcription_tests::seaweedfs::{BUCKET, SeaweedFs};

use crate::notes::{Kept, Notes, Sent};

/// So many objects are read at once.
const READERS: usize = 8;
/// How long what is left to write may take after all has healed: the service tries again every 30 s at the latest.
const SETTLE_LIMIT: Duration = Duration::from_secs(100);
/// Larger recordings go by the Files API.
const MAX_INLINE_BYTES: u64 = 14 * 1024 * 1024;

/// All that is in the bucket, and what is wrong with it.
#[derive(Default)]
pub struct Bucket {
    /// The recordings by their state, the failed ones with their code.
    pub states: BTreeMap<String, u64>,
    /// The same of those whose sender was told no id.
    pub untold: BTreeMap<String, u64>,
    /// The bytes that those senders sent.
    pub untold_bytes: u64,
    pub manifests: u64,
    pub audio_objects: u64,
    pub audio_bytes: u64,
    pub texts: u64,
    /// Recordings that went to Google as files.
    pub files: u64,
    /// Recordings that the bucket did not give again to be sent as a file: Google was never asked.
    pub never_asked: u64,
    /// Recordings that the bucket did not give again while Google was being asked: the question broke off.
    pub broken_off: u64,
    pub wrong: Vec<String>,
}

/// The keys in the bucket with the sizes of their objects.
type Listing = HashMap<String, u64>;

struct Manifest {
    user_id: String,
    id: String,
    content: Value,
}

impl Manifest {
    /// The state, and the code if it failed.
    fn state(&self) -> String {
        let state = self.content["state"].as_str().unwrap_or("no state");
        match self.content["code"].as_str() {
            Some(code) => format!("{state}, {code}"),
            None => state.to_owned(),
        }
    }
}

impl Bucket {
    /// Reads everything, and compares it with what the clients noted. After a kill there may be recordings without a text for ever,
    /// and audio that belongs to none.
    pub async fn read(s3: &SeaweedFs, notes: &Notes, was_killed: bool) -> Self {
        let manifests = settled(s3, was_killed).await;
        let listing = list(s3).await;
        let mut bucket = Self {
            manifests: manifests.len() as u64,
            ..Self::default()
        };
        let (kept, left) = (notes.kept(), notes.left());
        let told = kept.iter().map(|kept| &*kept.id).collect::<HashSet<_>>();
        for manifest in &manifests {
            let state = manifest.state();
            *bucket.states.entry(state.clone()).or_default() += 1;
            if !told.contains(&*manifest.id) {
                *bucket.untold.entry(state.clone()).or_default() += 1;
                let sha256 = manifest.content["audio"]["sha256"].as_str();
                let sent = sha256.and_then(|sha256| left.get(sha256));
                bucket.untold_bytes += sent.map_or(0, |sent| sent.size_bytes);
            }
            let size_bytes = manifest.content["audio"]["size_bytes"].as_u64();
            let is_file = size_bytes.is_some_and(|bytes| bytes > MAX_INLINE_BYTES);
            match (is_file, state == "failed, storage_unavailable") {
                (true, true) => bucket.never_asked += 1,
                (true, false) => bucket.files += 1,
                (false, true) => bucket.broken_off += 1,
                (false, false) => {}
            }
        }
        bucket.count(&listing, &manifests, was_killed);
        bucket.check_kept(&kept, &manifests);
        let checks = manifests
            .iter()
            .map(|it| check(s3, &listing, it, &left, told.contains(&*it.id), was_killed));
        let wrong = stream::iter(checks).buffer_unordered(READERS);
        bucket.wrong.extend(wrong.concat().await);
        bucket
    }

    fn count(&mut self, listing: &Listing, manifests: &[Manifest], was_killed: bool) {
        let ids = manifests.iter().map(|it| &*it.id).collect::<HashSet<_>>();
        for (key, size_bytes) in listing {
            let parts = key.split('/').collect::<Vec<_>>();
            let ["private", _, kind, file] = parts[..] else {
                self.wrong.push(format!("{key} is nobody's"));
                continue;
            };
            let id = file.split('.').next().unwrap_or_default();
            match kind {
                "audio" => {
                    self.audio_objects += 1;
                    self.audio_bytes += size_bytes;
                }
                "transcripts" => self.texts += 1,
                _ => {}
            }
            let may_be_alone = was_killed && kind == "audio";
            if !ids.contains(id) && !may_be_alone {
                self.wrong.push(format!("{key} has no manifest"));
            }
        }
    }

    /// Whatever was answered with an id is there, is the client's, and is complete if the client got its text.
    fn check_kept(&mut self, kept: &[Kept], manifests: &[Manifest]) {
        let by_id = manifests.iter().map(|it| (&*it.id, it));
        let by_id = by_id.collect::<HashMap<_, _>>();
        for kept in kept {
            let id = &kept.id;
            let Some(manifest) = by_id.get(&**id) else {
                self.wrong.push(format!("{id} was accepted and is gone"));
                continue;
            };
            let audio = &manifest.content["audio"];
            if manifest.user_id != kept.user_id.to_string()
                || audio["sha256"] != *kept.sent.sha256
                || audio["size_bytes"] != kept.sent.size_bytes
            {
                self.wrong.push(format!("{id} is not what was sent"));
            }
            if kept.is_complete && manifest.content["state"] != "complete" {
                let state = manifest.state();
                self.wrong
                    .push(format!("{id} was answered with its text and is {state}"));
            }
        }
    }

    /// How many recordings have failed with this code.
    pub fn failed(&self, code: &str) -> u64 {
        let state = format!("failed, {code}");
        self.states.get(&state).copied().unwrap_or_default()
    }

    pub fn complete(&self) -> u64 {
        self.states.get("complete").copied().unwrap_or_default()
    }
}

/// What is wrong with a recording.
async fn check(
    s3: &SeaweedFs,
    listing: &Listing,
    manifest: &Manifest,
    left: &BTreeMap<String, Sent>,
    is_told: bool,
    was_killed: bool,
) -> Vec<String> {
    let Manifest {
        user_id,
        id,
        content,
    } = manifest;
    let mut wrong = Vec::new();
    let mut object = async |part: &str| {
        let key = content[part]["key"].as_str().unwrap_or_default();
        if !listing.contains_key(key) || !key.starts_with(&format!("private/{user_id}/")) {
            wrong.push(format!("{id} has no {part}, and its manifest says {key}"));
            return Vec::new();
        }
        let bytes = s3.object(key).await.0;
        if content[part]["sha256"] != *sha256_of(&bytes) {
            wrong.push(format!("{key} has other bytes than its manifest says"));
        }
        bytes
    };
    let audio = object("audio").await;
    if content["state"] == "complete" {
        let text = object("transcript").await;
        let text = String::from_utf8_lossy(&text);
        // Google may have heard nothing.
        if !text.is_empty() && text != transcription_tests::transcription::heard(&audio) {
            wrong.push(format!("{id} has the text of another recording"));
        }
    }
    if !is_told && !was_killed && !left.contains_key(&sha256_of(&audio)) {
        wrong.push(format!(
            "{id} was accepted, and its sender waited and was told no id"
        ));
    }
    wrong
}

/// All manifests, once none of them waits to be written. After a kill some never are.
async fn settled(s3: &SeaweedFs, was_killed: bool) -> Vec<Manifest> {
    let start = Instant::now();
    loop {
        let listing = list(s3).await;
        let keys = listing
            .into_keys()
            .filter(|key| key.contains("/manifests/"));
        let manifests = keys.map(|key| async move {
            let (bytes, _) = s3.object(&key).await;
            let parts = key.split(['/', '.']).collect::<Vec<_>>();
            Manifest {
                user_id: parts[1].to_owned(),
                id: parts[3].to_owned(),
                content: serde_json::from_slice(&bytes).unwrap_or_default(),
            }
        });
        let manifests = stream::iter(manifests).buffer_unordered(READERS);
        let manifests = manifests.collect::<Vec<_>>().await;
        let is_open = |manifest: &Manifest| manifest.content["state"] == "stored";
        if was_killed || !manifests.iter().any(is_open) || start.elapsed() > SETTLE_LIMIT {
            return manifests;
        }
        sleep(Duration::from_secs(5)).await;
    }
}

async fn list(s3: &SeaweedFs) -> Listing {
    let mut pages = s3
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .into_paginator()
        .send();
    let mut listing = Listing::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents.unwrap_or_default() {
            let size_bytes = u64::try_from(object.size.unwrap_or_default()).unwrap_or_default();
            listing.insert(object.key.unwrap_or_default(), size_bytes);
        }
    }
    listing
}
