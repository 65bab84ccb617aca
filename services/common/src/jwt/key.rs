//! The key that signs and verifies tokens.

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;

use crate::files::folder_of;

/// A shorter key could be found by trying (RFC 7518 §3.2 asks for the size of the hash).
const MIN_KEY_BYTES: usize = 32;
/// The example in the old backend's `.env`.
const PUBLISHED_KEY: &str = "your-super-secret-and-long-random-string-for-jwt";

/// A key of at least 32 bytes. It is never printed.
#[derive(Clone, Debug)]
pub struct SecretKey(SecretString);

impl SecretKey {
    /// A new key of 32 random bytes, in hexadecimal.
    pub fn generate() -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).context("asking the system for random bytes")?;
        let key = bytes.iter().map(|byte| format!("{byte:02x}"));
        Ok(Self(SecretString::from(key.collect::<Vec<_>>().concat())))
    }

    /// Writes the key to a new file that nobody but its owner can read (mode 0600).
    ///
    /// The whole key is written under another name first, so that a crash cannot leave half a key. Fails if there is
    /// a file: a key is never overwritten.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(folder_of(path))?;
        writeln!(file, "{}", self.expose())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    }

    /// Whether it is the one that the old backend's documentation showed, which everybody knows.
    pub fn is_published(&self) -> bool {
        self.expose() == PUBLISHED_KEY
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for SecretKey {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let length = key.len();
        if length < MIN_KEY_BYTES {
            return Err(format!(
                "the key must have at least {MIN_KEY_BYTES} bytes and has {length}; make one with: openssl rand -base64 48"
            ));
        }
        Ok(Self(SecretString::from(key)))
    }
}
