//! The form of `POST /transcribe`, read in a stream: the first bytes decide the type, then the recording goes to the
//! bucket while its size and hash are found. Nothing in the bucket is finished until [`Upload::store`] is called.

mod file;

use std::time::Duration;

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transcription_common::jwt::UserId;
use transcription_common::problem::FieldError;
use uuid::Uuid;

pub use self::file::sha256_of;
use self::file::{File, first_buffer};
use crate::audio::{AudioFormat, SNIFF_BYTES};
use crate::early::{NoField, Unread};
use crate::engine::{Language, Options, Prompt};
use crate::error::{Error, find_cause};
use crate::storage::{ObjectKey, OpenUpload, Recording, Storage, StorageError};

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
    if let Some(file) = reading.file {
        file.discard().await;
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
        let mut buffer = first_buffer(terms.unread.length_bytes());
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
        let key = ObjectKey::audio(terms.user, terms.id, format);
        let file = File::new(filename, format, key, buffer);
        let file = self.file.insert(file);
        file.check_size(terms)?;
        while !ended {
            let chunk = tokio::select! {
                chunk = terms.chunk(&mut field) => chunk?,
                // A slow client need not send more, or wait, before it hears of it.
                error = file.failure() => return Err(error),
            };
            match chunk {
                Some(chunk) => file.add(chunk, terms).await?,
                None => ended = true,
            }
        }
        file.end().await
    }
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

    #[test]
    fn a_file_name_keeps_its_letters_and_loses_what_could_deceive() {
        assert_eq!(clean_filename("réunion 📼.mp3"), "réunion 📼.mp3");
        assert_eq!(clean_filename("a\r\nb\u{202e}gpm.exe"), "abgpm.exe");
        assert_eq!(clean_filename(&"x".repeat(4096)).len(), 255);
    }
}
