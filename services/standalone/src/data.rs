//! The folder that everything lives in: `auth.db`, `s3/`, and the signing key, which is made once.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use auth_service::config::DatabaseUrl;
use tempfile::NamedTempFile;
use tracing::info;
use transcription_common::jwt::SecretKey;

const KEY_FILE: &str = "jwt.key";

/// The data folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Opens the folder, or makes it, for its owner alone.
    ///
    /// Fails with a sentence if it cannot be made or written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let advice = "choose another with DATA_DIR";
        make_private(path).map_err(|error| {
            anyhow::anyhow!("the data folder {shown} cannot be made ({error}): {advice}")
        })?;
        NamedTempFile::new_in(path).map_err(|error| {
            anyhow::anyhow!("the data folder {shown} cannot be written ({error}): {advice}")
        })?;
        let path = path.to_owned();
        Ok(Self { path })
    }

    /// The database in the folder.
    pub fn database(&self) -> DatabaseUrl {
        DatabaseUrl {
            path: self.path.join("auth.db"),
            create: true,
        }
    }

    /// The folder of the S3 store. Made if it is not there.
    pub fn s3(&self) -> anyhow::Result<PathBuf> {
        let path = self.path.join("s3");
        make_private(&path)
            .with_context(|| format!("the folder {} cannot be made", path.display()))?;
        Ok(path)
    }

    /// The signing key: read, or made at the first start. Nobody but its owner can read the file (mode 0600).
    pub fn signing_key(&self) -> anyhow::Result<SecretKey> {
        let path = self.path.join(KEY_FILE);
        let shown = path.display();
        match fs::read_to_string(&path) {
            Ok(key) => key.trim_end().parse().map_err(|error| {
                anyhow::anyhow!("the signing key in {shown} is not usable: {error}")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = SecretKey::generate()?;
                key.write_new(&path)
                    .with_context(|| format!("the signing key cannot be written to {shown}"))?;
                info!(file = %shown, "a signing key was made: keep the file, for without it everybody has to log in again");
                Ok(key)
            }
            Err(error) => {
                Err(error).with_context(|| format!("the signing key {shown} cannot be read"))
            }
        }
    }
}

/// Recordings are nobody's business but their owner's.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
