//! What an operator has written, as the API server has logged it (`audit.k8s.io/v1`).

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use serde_json::Value;

use super::Operator;

impl Operator {
    /// What the operator of this namespace has written since it began, as the API server has logged it.
    pub fn writes(&self) -> Vec<String> {
        let log = self.log_of_own(0);
        let began = log
            .iter()
            .rposition(|line| {
                line["verb"] == "list" && line["objectRef"]["resource"] == "transcriptionstacks"
            })
            .unwrap();
        log[began..]
            .iter()
            .filter(|line| is_write(line))
            .map(described)
            .collect()
    }

    /// How far the API server's log is now.
    pub fn audit_place(&self) -> u64 {
        std::fs::metadata(self.audit_log()).unwrap().len()
    }

    /// What the operators of this namespace have written since the log was there.
    pub fn writes_since(&self, place: u64) -> Vec<String> {
        self.written_since(place).iter().map(described).collect()
    }

    /// The same, with all that is logged of it (`audit.k8s.io/v1`).
    pub fn written_since(&self, place: u64) -> Vec<Value> {
        let mut log = self.log_of_own(place);
        log.retain(is_write);
        log
    }

    fn log_of_own(&self, place: u64) -> Vec<Value> {
        let mut log = File::open(self.audit_log()).unwrap();
        log.seek(SeekFrom::Start(place)).unwrap();
        let user = format!(
            "system:serviceaccount:{}:transcription-operator",
            self.namespace
        );
        let lines = BufReader::new(log).lines().map(Result::unwrap);
        // The log is long, and most of it is of others.
        let own = lines.filter(|line| line.contains(&user));
        let own = own.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        own.filter(|line| line["user"]["username"] == user.as_str())
            .collect()
    }
}

/// Whether a request that was logged writes something, but for the Lease.
fn is_write(line: &Value) -> bool {
    let reads = ["get", "list", "watch"];
    line["objectRef"]["resource"] != "leases" && !reads.contains(&line["verb"].as_str().unwrap())
}

fn described(line: &Value) -> String {
    format!("{} {}", line["verb"], line["requestURI"])
}
