//! An object read like a file, a range at a time, so that memory does not grow with it.

use std::future::pending;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use symphonia::core::io::MediaSource;
use tokio::runtime::Handle;

use super::{ObjectKey, Storage, StorageError};
use crate::stop::{Stop, Stopped};

/// Bytes a request. Decoding reads in order, so larger ranges mean fewer requests and more memory.
const RANGE_BYTES: u64 = 1024 * 1024;

/// Reads an object of a known size. Blocks: not for async threads.
struct ObjectReader {
    storage: Storage,
    key: ObjectKey,
    size_bytes: u64,
    /// What ends a read that the bucket takes its time for.
    stop: Option<Stop>,
    runtime: Handle,
    position: u64,
    range_start: u64,
    range: Bytes,
}

impl ObjectReader {
    /// A reader at the object's start. Must be made inside the runtime that will do the requests.
    fn new(storage: Storage, key: ObjectKey, size_bytes: u64, stop: Option<Stop>) -> Self {
        Self {
            storage,
            key,
            size_bytes,
            stop,
            runtime: Handle::current(),
            position: 0,
            range_start: 0,
            range: Bytes::new(),
        }
    }

    fn buffered(&self) -> &[u8] {
        self.position
            .checked_sub(self.range_start)
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|offset| self.range.get(offset..))
            .unwrap_or_default()
    }
}

impl Read for ObjectReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size_bytes {
            return Ok(0);
        }
        if self.buffered().is_empty() {
            let last = (self.position + RANGE_BYTES).min(self.size_bytes) - 1;
            let range = self.storage.get_range(&self.key, self.position, last);
            let stopped = async {
                match &self.stop {
                    Some(stop) => stop.reached().await,
                    None => pending().await,
                }
            };
            self.range = self.runtime.block_on(async {
                tokio::select! {
                    range = range => range.map_err(io::Error::other),
                    () = stopped => Err(io::Error::other(Stopped)),
                }
            })?;
            self.range_start = self.position;
        }
        let buffered = self.buffered();
        let count = buffered.len().min(target.len());
        target[..count].copy_from_slice(&buffered[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.size_bytes.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

impl MediaSource for ObjectReader {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.size_bytes)
    }
}

/// Where the bytes of a recording are read from: from memory while they are few, else from the bucket.
#[derive(Clone)]
pub enum Recording {
    /// The whole recording.
    Memory(Bytes),
    /// The object that holds it.
    Object {
        /// The bucket.
        storage: Storage,
        /// The object's key.
        key: ObjectKey,
        /// The object's size in bytes.
        size_bytes: u64,
    },
}

impl Recording {
    /// How many bytes it has.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Object { size_bytes, .. } => *size_bytes,
        }
    }

    /// So many bytes from a position on; there must be as many.
    pub async fn range(&self, position: u64, length: u64) -> Result<Bytes, StorageError> {
        let doing = "reading a recording";
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(position).ok();
                let end = usize::try_from(position + length).ok();
                let range = start.zip(end).filter(|(_, end)| *end <= bytes.len());
                range
                    .map(|(start, end)| bytes.slice(start..end))
                    .ok_or_else(|| StorageError::new(doing, "it has no such bytes"))
            }
            Self::Object { storage, key, .. } => {
                let bytes = storage
                    .get_range(key, position, position + length - 1)
                    .await?;
                if bytes.len() as u64 != length {
                    return Err(StorageError::new(
                        doing,
                        "the object is shorter than it was",
                    ));
                }
                Ok(bytes)
            }
        }
    }

    /// Opens it at its start. Must be called inside the runtime; reading blocks.
    pub fn open(&self) -> Box<dyn MediaSource> {
        self.source(None)
    }

    /// The same, but a read fails with [`Stopped`] when it is time to stop.
    pub fn open_until(&self, stop: &Stop) -> Box<dyn MediaSource> {
        self.source(Some(stop.clone()))
    }

    fn source(&self, stop: Option<Stop>) -> Box<dyn MediaSource> {
        match self.clone() {
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::Object {
                storage,
                key,
                size_bytes,
            } => Box::new(ObjectReader::new(storage, key, size_bytes, stop)),
        }
    }
}
