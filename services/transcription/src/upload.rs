//! The form of `POST /transcribe`, read in a stream: the first bytes decide the type, then the recording goes to the
//! bucket while its size and hash are found. Nothing in the bucket is finished until [`Upload::store`] is called.

use std::fmt::Write;
use std::mem;
use std::time::Duration;

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transcription_common::jwt::UserId;
use transcription_common::problem::FieldError;
use uuid::Uuid;

use crate::audio::{AudioFormat, SNIFF_BYTES};
use crate::early::{NoField, Unread};
use crate::engine::{Language, Options, Prompt};
use crate::error::{Error, find_cause};
use crate::storage::{ObjectKey, OpenUpload, Recording, Storage, StorageError};

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
/// A client that sends nothing for so long is given up.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Characters of the client's file name that are kept.
const MAX_FILENAME_CHARS: usize = 255;
/// Bytes of a field that is not the file.
const MAX_FIELD_BYTES: usize = 8 * 1024;
/// Fields that a form may have; more are no honest form.
const MAX_FIELDS: usize = 32;

/// Whose upload it is, and what it may be.
pub struct Terms<'a> {
    /// The bucket.
    pub storage: &'a Storage,
    /// Whose recording it is.
    pub user: &'a UserId,
    /// The id that the transcription will have.
    pub id: Uuid,
    /// The largest file that is taken.
    pub max_upload_bytes: u64,
    /// What the reader of the form holds.
    pub unread: &'a Unread,
    /// The service ends now.
    pub cut: &'a CancellationToken,
}

impl Terms<'_> {
    /// Waits for the client, but not for ever.
    async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, MultipartError>>,
    ) -> Result<T, Error> {
        let read = tokio::select! {
            read = timeout(STALL_LIMIT, read) => read,
            () = self.cut.cancelled() => return Err(Error::Stopping),
        };
        read.map_err(|_| Error::SlowUpload)?.map_err(|error| {
            if is_of_connection(&error) {
                Error::ClientGone
            } else if let Some(no_field) = find_cause::<NoField>(&error) {
                Error::BrokenForm(no_field.to_string())
            } else {
                Error::BrokenForm(error.body_text())
            }
        })
    }

    /// How much memory a recording gets at first: what a small one needs, if the client says how long it is. A buffer that grows by itself
    /// is copied each time.
    fn usual_bytes(&self) -> usize {
        let length_bytes = self.unread.length_bytes().unwrap_or_default();
        usize::try_from(length_bytes).map_or(SMALL_BYTES, |bytes| bytes.min(SMALL_BYTES))
    }

    /// The next piece of a field.
    async fn chunk(&self, field: &mut Field<'_>) -> Result<Option<Bytes>, Error> {
        let chunk = self.in_time(field.chunk()).await?;
        self.unread.took(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }
}

/// A form that was read to its end and whose every field is valid.
pub struct Upload {
    /// What the form says, and what was found out about the file.
    pub details: Details,
    content: Content,
}

/// What is known of an uploaded recording.
pub struct Details {
    /// The name that the client gave the file.
    pub filename: String,
    /// What the bytes are.
    pub format: AudioFormat,
    /// The file's size.
    pub size_bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Where the recording is going to be.
    pub key: ObjectKey,
    /// What the client asks of the engine.
    pub options: Options,
}

enum Content {
    Whole(Bytes),
    Parts(Box<OpenUpload>),
}

/// Reads the form. Whatever goes wrong, no upload stays open in the bucket.
pub async fn receive(mut form: Multipart, terms: Terms<'_>) -> Result<Upload, Error> {
    let mut reading = Reading::default();
    let error = match reading.read(&mut form, &terms).await {
        Ok(()) => match reading.file {
            Some(file) => return Ok(file.into_upload(reading.options)),
            None => Error::NoFile,
        },
        Err(error) => error,
    };
    if let Some(File {
        open_upload: Some(upload),
        ..
    }) = reading.file
    {
        upload.abort().await;
    }
    Err(error)
}

impl Upload {
    /// Finishes the audio object in the bucket. If that fails, the parts of a large one are given up.
    pub async fn store(self, storage: &Storage) -> Result<(Details, Recording), StorageError> {
        let Self { details, content } = self;
        let recording = match content {
            Content::Whole(bytes) => {
                let content_type = details.format.content_type();
                let sha256 = Some(details.sha256.as_str());
                let put = storage.put(&details.key, content_type, bytes.clone(), sha256);
                if let Err(error) = put.await {
                    // It may be there though its answer is not.
                    storage.remove(&details.key).await;
                    return Err(error);
                }
                Recording::Memory(bytes)
            }
            Content::Parts(mut upload) => {
                if let Err(error) = upload.complete().await {
                    upload.abort().await;
                    storage.remove(&details.key).await;
                    return Err(error);
                }
                Recording::Object {
                    storage: storage.clone(),
                    key: details.key.clone(),
                    size_bytes: details.size_bytes,
                }
            }
        };
        Ok((details, recording))
    }

    /// Gives the upload up: nothing is left of it in the bucket.
    pub async fn discard(self) {
        if let Content::Parts(upload) = self.content {
            upload.abort().await;
        }
    }
}

#[derive(Default)]
struct Reading {
    file: Option<File>,
    options: Options,
}

impl Reading {
    async fn read(&mut self, form: &mut Multipart, terms: &Terms<'_>) -> Result<(), Error> {
        let mut fields = 0;
        while let Some(field) = terms.in_time(form.next_field()).await? {
            terms.unread.found_a_field();
            fields += 1;
            if fields > MAX_FIELDS {
                let why = format!("it has more than {MAX_FIELDS} fields");
                return Err(Error::BrokenForm(why));
            }
            match field.name() {
                Some("file") if self.file.is_some() => return Err(Error::TwoFiles),
                Some("file") => self.read_file(field, terms).await?,
                Some("language") => {
                    let text = read_text(field, "language", terms).await?;
                    self.options.language = parse_field("language", &text, Language::parse)?;
                }
                Some("prompt") => {
                    let text = read_text(field, "prompt", terms).await?;
                    self.options.prompt = parse_field("prompt", &text, Prompt::parse)?;
                }
                // Fields that others may know are no reason to refuse a recording.
                _ => drop(read_bytes(field, "a field", terms).await?),
            }
        }
        Ok(())
    }

    async fn read_file(&mut self, mut field: Field<'_>, terms: &Terms<'_>) -> Result<(), Error> {
        let filename = clean_filename(field.file_name().unwrap_or_default());
        let mut buffer = BytesMut::with_capacity(terms.usual_bytes());
        let mut ended = false;
        while buffer.len() < SNIFF_BYTES && !ended {
            match terms.chunk(&mut field).await? {
                Some(chunk) => buffer.extend_from_slice(&chunk),
                None => ended = true,
            }
        }
        if buffer.is_empty() {
            return Err(Error::EmptyFile);
        }
        let head = &buffer[..buffer.len().min(SNIFF_BYTES)];
        let format = AudioFormat::of(head).ok_or(Error::NotAudio)?;
        let file = self.file.insert(File {
            filename,
            format,
            key: ObjectKey::audio(terms.user, terms.id, format),
            size_bytes: buffer.len() as u64,
            hash: Sha256::new_with_prefix(&buffer),
            first: None,
            buffer,
            open_upload: None,
        });
        file.check_size(terms)?;
        while !ended {
            match terms.chunk(&mut field).await? {
                Some(chunk) => file.add(chunk, terms).await?,
                None => ended = true,
            }
        }
        file.end().await
    }
}

struct File {
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
    /// Sends each part that is full. While it is on its way the next one is filled. The first waits here until it is clear that there will
    /// be others: so there are never more than two.
    async fn add(&mut self, mut bytes: Bytes, terms: &Terms<'_>) -> Result<(), Error> {
        self.size_bytes += bytes.len() as u64;
        self.check_size(terms)?;
        self.hash.update(&bytes);
        if let Some(upload) = &mut self.open_upload {
            // A slow client is not to send another part before it hears of it.
            upload.check().await?;
        }
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

    fn check_size(&self, terms: &Terms<'_>) -> Result<(), Error> {
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

    async fn end(&mut self) -> Result<(), Error> {
        if let Some(upload) = &mut self.open_upload
            && !self.buffer.is_empty()
        {
            upload
                .add_part(mem::take(&mut self.buffer).freeze())
                .await?;
        }
        Ok(())
    }

    fn into_upload(self, options: Options) -> Upload {
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

/// Whether it was the connection that ended, and not the form.
fn is_of_connection(error: &MultipartError) -> bool {
    find_cause::<hyper::Error>(error).is_some()
}

async fn read_text(
    field: Field<'_>,
    name: &'static str,
    terms: &Terms<'_>,
) -> Result<String, Error> {
    let bytes = read_bytes(field, name, terms).await?;
    String::from_utf8(bytes)
        .map_err(|_| Error::InvalidField(FieldError::new(name, "must be UTF-8.")))
}

async fn read_bytes(
    mut field: Field<'_>,
    name: &'static str,
    terms: &Terms<'_>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = terms.chunk(&mut field).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            let why = format!("must have at most {MAX_FIELD_BYTES} bytes.");
            return Err(Error::InvalidField(FieldError::new(name, why)));
        }
    }
    Ok(bytes)
}

/// An empty field is one that a web form left empty: the same as none.
fn parse_field<T>(
    name: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let value =
        parse(text.trim()).map_err(|why| Error::InvalidField(FieldError::new(name, why)))?;
    Ok(Some(value))
}

/// The client's file name as the manifest keeps it: no control characters, and none that turn the text around.
fn clean_filename(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    name.chars()
        .filter(|&c| !c.is_control() && !turns(c))
        .take(MAX_FILENAME_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_OBJECT_BYTES;

    #[test]
    fn a_file_name_keeps_its_letters_and_loses_what_could_deceive() {
        assert_eq!(clean_filename("réunion 📼.mp3"), "réunion 📼.mp3");
        assert_eq!(clean_filename("a\r\nb\u{202e}gpm.exe"), "abgpm.exe");
        assert_eq!(clean_filename(&"x".repeat(4096)).len(), 255);
    }

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
