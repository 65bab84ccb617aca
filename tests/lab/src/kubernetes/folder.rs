//! The folder of a cluster: its settings, keys, data and logs.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is removed with the cluster. The logs of a failed test are kept.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder among the temporary files.
    pub fn temporary() -> Self {
        let folder = tempfile::Builder::new().prefix("lab-").tempdir();
        Self {
            path: folder.expect("a temporary folder").keep(),
        }
    }

    /// A new folder at this path.
    pub fn at(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it, and tells its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Copies the logs to a folder that stays, and tells its path.
    pub fn keep_logs(&self) -> Option<PathBuf> {
        let kept = tempfile::Builder::new().prefix("lab-logs-").tempdir();
        let kept = kept.ok()?.keep();
        for entry in fs::read_dir(&self.path).ok()?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let _ = fs::copy(&path, kept.join(entry.file_name()));
            }
        }
        Some(kept)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
