//! What a user has asked of the API server, as its audit log tells. The log is read bit by bit, for it grows large.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// A request that was answered.
pub struct Request {
    /// What was asked for, in Kubernetes's words.
    pub verb: String,
    /// Of what kind of object, with its subresource.
    pub resource: String,
    /// When it was answered.
    pub answered: Timestamp,
}

impl Request {
    fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&event["objectRef"]["resource"]);
        if let Some(subresource) = event["objectRef"]["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        Self {
            verb: text(&event["verb"]),
            resource,
            answered: text(&event["stageTimestamp"]).parse().unwrap(),
        }
    }

    /// Whether it was to change something.
    pub fn is_write(&self) -> bool {
        self.verb != "get" && !self.is_of_many()
    }

    /// Whether it asks for all objects of a kind, or for what becomes of them.
    fn is_of_many(&self) -> bool {
        self.verb == "list" || self.verb == "watch"
    }
}

/// The log, from where it was last read.
pub struct AuditLog {
    path: PathBuf,
    file: File,
    user: String,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    /// What the user watches.
    watched: BTreeSet<String>,
}

impl AuditLog {
    /// Begins after what the user has asked for so far. What was listed or watched by then is what it always watches.
    pub fn follow(path: PathBuf, user: String) -> Self {
        let file = File::open(&path).unwrap();
        let mut this = Self {
            path,
            file,
            user,
            rest: Vec::new(),
            watched: BTreeSet::new(),
        };
        let so_far = this.all().into_iter();
        this.watched = so_far
            .filter(Request::is_of_many)
            .map(|request| request.resource)
            .collect();
        this
    }

    /// What the user has asked for since the last time, but for its Lease and what keeps its watches going.
    pub fn read(&mut self) -> Vec<Request> {
        let mut requests = self.all();
        requests.retain(|request| {
            let keeps_watch = request.is_of_many() && self.watched.contains(&request.resource);
            request.resource != "leases" && !keeps_watch
        });
        requests
    }

    fn all(&mut self) -> Vec<Request> {
        let lines = String::from_utf8(self.lines()).unwrap();
        // Most lines are of others: they need not be parsed.
        lines
            .lines()
            .filter(|line| line.contains(&self.user))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| event["user"]["username"] == self.user)
            .map(|event| Request::of(&event))
            .collect()
    }

    fn lines(&mut self) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.rest);
        // At 100 MB the API server gives the file another name, and begins a new one.
        let ours = self.file.metadata().unwrap().ino();
        let is_another = fs::metadata(&self.path).is_ok_and(|current| current.ino() != ours);
        self.file.read_to_end(&mut bytes).unwrap();
        if is_another {
            self.file = File::open(&self.path).unwrap();
            self.file.read_to_end(&mut bytes).unwrap();
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        self.rest = bytes.split_off(end.map_or(0, |end| end + 1));
        bytes
    }
}
