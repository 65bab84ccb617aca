//! The recording of a form on its way to the bucket: small ones at once and whole, large ones in parts while they still come.

use std::fmt::Write;
use std::future;
use std::mem;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::{Content, Details, Terms, Upload};
use crate::audio::AudioFormat;
use crate::early::MAX_UNREAD_BYTES;
use crate::engine::Options;
use crate::error::Error;
use crate::storage::{ObjectKey, OpenUpload};

/// Up to this size a recording is kept in memory and stored by one request.
const MAX_WHOLE_BYTES: usize = 8 * 1024 * 1024;
/// The size of a part; S3 takes none smaller, and a larger one only costs memory.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// So many parts are of that size, whatever may still come; then each is a little larger than the one before it, so that 10 000 of
/// them are enough for the largest object there can be.
const SMALL_PARTS: u64 = 1000;
const PART_GROWTH_BYTES: u64 = 160 * 1024;
/// Many recordings are a note of a minute: they take no more memory than they need.
const SMALL_BYTES: usize = 512 * 1024;
/// S3 takes so many parts of one object.
const MAX_PARTS: u64 = 10_000;
// What a recording begins with is no more than what the reader of the form has at once; it must fit into the first part.
const _: () = assert!(4 * MAX_UNREAD_BYTES as u64 <= MIN_PART_BYTES);

/// What a recording is gathered in at first: as large as the client says that it is, since a buffer that grows is copied. Memory that
/// nothing is written into takes none of the machine's, so that a client that says too much costs nothing.
pub fn first_buffer(length_bytes: Option<u64>) -> BytesMut {
    let length_bytes = usize::try_from(length_bytes.unwrap_or_default()).unwrap_or(usize::MAX);
    BytesMut::with_capacity(if length_bytes > SMALL_BYTES {
        MAX_WHOLE_BYTES
    } else {
        length_bytes
    })
}

/// A recording of which the first bytes, at least, have come.
pub struct File {
    filename: String,
    format: AudioFormat,
    key: ObjectKey,
    size_bytes: u64,
    hash: Sha256,
    /// The first part, while the recording may still be stored as a whole.
    first: Option<Bytes>,
    /// What is behind that, or not yet on its way to the bucket.
    buffer: BytesMut,
    open_upload: Option<OpenUpload>,
}

impl File {
    /// Begins with what has come.
    pub fn new(filename: String, format: AudioFormat, key: ObjectKey, buffer: BytesMut) -> Self {
        Self {
            filename,
            format,
            key,
            size_bytes: buffer.len() as u64,
            hash: Sha256::new_with_prefix(&buffer),
            first: None,
            buffer,
            open_upload: None,
        }
    }

    /// Takes what came next, and sends each part that is full. While it is on its way the next one is filled. The first waits here until it
    /// is clear that there will be others: so there are never more than two.
    pub async fn add(&mut self, mut bytes: Bytes, terms: &Terms<'_>) -> Result<(), Error> {
        self.size_bytes += bytes.len() as u64;
        self.check_size(terms)?;
        self.hash.update(&bytes);
        if self.open_upload.is_none() && self.size_bytes > MAX_WHOLE_BYTES as u64 {
            self.open(terms).await?;
        }
        while !bytes.is_empty() {
            let waiting = self.buffer.len() + bytes.len();
            let sent_bytes = self.size_bytes - waiting as u64;
            let sent_parts = match &self.open_upload {
                Some(upload) => upload.parts(),
                None => usize::from(self.first.is_some()),
            };
            let part_bytes = part_bytes(terms.max_upload_bytes, sent_bytes, sent_parts);
            let missing = part_bytes - self.buffer.len();
            self.make_room(part_bytes);
            let piece = bytes.split_to(missing.min(bytes.len()));
            self.buffer.extend_from_slice(&piece);
            if self.buffer.len() == part_bytes {
                let part = mem::take(&mut self.buffer).freeze();
                match &mut self.open_upload {
                    Some(upload) => self.buffer = upload.add_part(part).await?,
                    None => self.first = Some(part),
                }
            }
        }
        Ok(())
    }

    /// Whether it is still as small as it must be.
    pub fn check_size(&self, terms: &Terms<'_>) -> Result<(), Error> {
        let limit_bytes = terms.max_upload_bytes;
        if self.size_bytes > limit_bytes {
            return Err(Error::TooLarge { limit_bytes });
        }
        Ok(())
    }

    /// Takes, once it is clear that the recording is not small, all the memory that a part needs. A buffer that grows by itself doubles.
    /// The first has room for the rest of a recording that is stored as a whole.
    fn make_room(&mut self, part_bytes: usize) {
        let needed = match (&self.open_upload, &self.first) {
            (None, None) if self.buffer.len() <= SMALL_BYTES => return,
            (None, None) => MAX_WHOLE_BYTES,
            _ => part_bytes,
        };
        self.buffer.reserve(needed - self.buffer.len());
    }

    /// Goes on in parts.
    async fn open(&mut self, terms: &Terms<'_>) -> Result<(), Error> {
        let content_type = self.format.content_type();
        let key = self.key.clone();
        let upload = terms.storage.open_upload(key, content_type).await?;
        let upload = self.open_upload.insert(upload);
        if let Some(first) = self.first.take() {
            upload.add_part(first).await?;
        }
        Ok(())
    }

    /// Sends what is left, now that all has come.
    pub async fn end(&mut self) -> Result<(), Error> {
        if let Some(upload) = &mut self.open_upload {
            if !self.buffer.is_empty() {
                upload
                    .add_part(mem::take(&mut self.buffer).freeze())
                    .await?;
            }
            upload.finish_part().await?;
        }
        Ok(())
    }

    /// Waits until it is known that the bucket does not take what was sent: for ever if it does.
    pub async fn failure(&mut self) -> Error {
        match &mut self.open_upload {
            Some(upload) => upload.failure().await.into(),
            None => future::pending().await,
        }
    }

    /// Gives it up: nothing is left of it in the bucket.
    pub async fn discard(self) {
        if let Some(upload) = self.open_upload {
            upload.abort().await;
        }
    }

    /// What is stored once the form is known to be valid.
    pub fn into_upload(self, options: Options) -> Upload {
        let Self {
            filename,
            format,
            key,
            size_bytes,
            hash,
            first,
            buffer,
            open_upload,
        } = self;
        Upload {
            details: Details {
                filename,
                format,
                size_bytes,
                sha256: hexadecimal(&hash.finalize()),
                key,
                options,
            },
            content: match open_upload {
                Some(upload) => Content::Parts(Box::new(upload)),
                None => Content::Whole(match first {
                    Some(first) => joined(first, &buffer),
                    None => buffer.freeze(),
                }),
            },
        }
    }
}

/// Both as one, in the memory of the first.
fn joined(first: Bytes, rest: &[u8]) -> Bytes {
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(rest);
    whole.freeze()
}

/// How large the next part is, behind so many bytes in so many parts: as small as what is left of the largest recording that is
/// taken allows, and not larger than needed when it is clear that this one is large.
fn part_bytes(max_upload_bytes: u64, sent_bytes: u64, sent_parts: usize) -> usize {
    let sent_parts = sent_parts as u64;
    let left_parts = MAX_PARTS.saturating_sub(sent_parts).max(1);
    let enough = max_upload_bytes
        .saturating_sub(sent_bytes)
        .div_ceil(left_parts);
    let grown = MIN_PART_BYTES + sent_parts.saturating_sub(SMALL_PARTS) * PART_GROWTH_BYTES;
    usize::try_from(enough.min(grown).max(MIN_PART_BYTES)).unwrap_or(usize::MAX)
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_OBJECT_BYTES;

    /// The size of the largest part, and how many there are, of an object with so many bytes.
    fn parts(max_upload_bytes: u64, size_bytes: u64) -> (usize, usize) {
        let (mut sent_bytes, mut sent_parts, mut largest) = (0, 0, 0);
        while sent_bytes < size_bytes {
            let part = part_bytes(max_upload_bytes, sent_bytes, sent_parts);
            largest = largest.max(part);
            sent_bytes += part as u64;
            sent_parts += 1;
        }
        (largest, sent_parts)
    }

    #[test]
    fn parts_are_of_5_mib_while_the_object_allows_it_and_10_000_are_always_enough() {
        const MIB: u64 = 1024 * 1024;
        const LEAST: usize = 5 << 20;

        for max in [200 * MIB, 50_000 * MIB, 1 << 40, MAX_OBJECT_BYTES] {
            assert_eq!(parts(max, 200 * MIB), (LEAST, 40), "{max}");
        }
        assert_eq!(parts(50_000 * MIB, 50_000 * MIB), (LEAST, 10_000));
        for max in [50_001 * MIB, 100_000 * MIB, 1 << 40, MAX_OBJECT_BYTES] {
            let (largest, number) = parts(max, max);
            assert!(number <= 10_000, "{max}: {number}");
            assert!(
                largest as u64 <= 5 << 30,
                "S3 takes no larger part: {largest}"
            );
        }
        let (largest, _) = parts(100_000 * MIB, 100_000 * MIB);
        assert!(largest < 12 << 20, "{largest}");
    }

    #[test]
    fn a_hash_is_written_in_hexadecimal() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256_of(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
