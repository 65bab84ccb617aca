//! What keeps a hostile file from taking memory and time while its headers are read.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use symphonia::core::io::MediaSource;

use super::{AudioFormat, SNIFF_BYTES, sniff};

/// Bytes that may be read before the sound: the index of a recording of ten hours and a large cover picture are within it. The
/// reader of a container keeps each picture in memory, twice, whatever limit it is given.
const MAX_HEADER_BYTES: u64 = 16 * 1024 * 1024;

/// A source of which not all may be read before [`Guard::lift`]. It begins behind the tags.
pub(super) struct Guarded {
    source: Box<dyn MediaSource>,
    /// Where the source's bytes begin to count as the file's.
    start: u64,
    guard: Guard,
}

/// Bytes and time that are left.
#[derive(Clone)]
pub(super) struct Guard {
    left_bytes: Arc<AtomicU64>,
    deadline: Option<Instant>,
}

impl Guarded {
    /// Guards a source that stands at its start. With a limit it ends by itself when that is over.
    pub fn new(source: Box<dyn MediaSource>, limit: Option<Duration>) -> Self {
        Self {
            source,
            start: 0,
            guard: Guard {
                left_bytes: Arc::new(AtomicU64::new(MAX_HEADER_BYTES)),
                deadline: limit.map(|limit| Instant::now() + limit),
            },
        }
    }

    /// What lifts the guard.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Lets the file begin behind its tags, which nobody needs, and with a whole frame. What cannot be sought stays as it is.
    pub fn skip_tags(&mut self, format: AudioFormat) -> io::Result<()> {
        let has_tags = matches!(
            format,
            AudioFormat::Mp3 | AudioFormat::Aac | AudioFormat::Flac
        );
        if !has_tags || !self.is_seekable() {
            return Ok(());
        }
        loop {
            let mut head = Vec::new();
            self.by_ref()
                .take(SNIFF_BYTES as u64)
                .read_to_end(&mut head)?;
            let tags = sniff::tags_length(&head);
            let rest = head.get(tags..).unwrap_or_default();
            let skipped = match tags {
                0 => sniff::frames_offset(rest, format),
                tags => tags,
            };
            self.start += skipped as u64;
            self.seek(SeekFrom::Start(0))?;
            if tags == 0 {
                return Ok(());
            }
        }
    }
}

impl Guard {
    /// From now on everything may be read.
    pub fn lift(self) {
        self.left_bytes.store(u64::MAX, Ordering::Relaxed);
    }

    /// How many bytes may be read now; `None` if there is no limit any more.
    fn left(&self) -> io::Result<Option<u64>> {
        let left = self.left_bytes.load(Ordering::Relaxed);
        if left == u64::MAX {
            return Ok(None);
        }
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(io::Error::other("reading its headers takes too long"));
        }
        if left == 0 {
            let mebibytes = MAX_HEADER_BYTES / (1024 * 1024);
            let error = format!("its headers and pictures have more than {mebibytes} MiB");
            return Err(io::Error::other(error));
        }
        Ok(Some(left))
    }
}

impl Read for Guarded {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.guard.left()? else {
            return self.source.read(target);
        };
        let most = usize::try_from(left).map_or(target.len(), |left| left.min(target.len()));
        let count = self.source.read(&mut target[..most])?;
        let left = left.saturating_sub(count as u64);
        self.guard.left_bytes.store(left, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Guarded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.guard.left()?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let to = match to {
            SeekFrom::Start(position) => {
                SeekFrom::Start(position.checked_add(self.start).ok_or_else(invalid)?)
            }
            to => to,
        };
        let position = self.source.seek(to)?;
        position.checked_sub(self.start).ok_or_else(invalid)
    }
}

impl MediaSource for Guarded {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        let length = self.source.byte_len()?;
        Some(length.saturating_sub(self.start))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn no_more_than_the_headers_are_read_until_the_guard_is_lifted() {
        let bytes = vec![7; 20 << 20];
        let mut guarded = Guarded::new(Box::new(Cursor::new(bytes)), None);
        let guard = guarded.guard();
        let mut target = vec![0; 10 << 20];

        guarded.read_exact(&mut target).unwrap();
        guarded.seek(SeekFrom::Start(0)).unwrap();
        let error = guarded.read_exact(&mut target).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");

        guard.lift();
        guarded.seek(SeekFrom::Start(0)).unwrap();
        guarded.read_exact(&mut target).unwrap();
    }

    #[test]
    fn a_reader_that_goes_on_for_too_long_is_ended() {
        let source = Box::new(Cursor::new(vec![7; 100]));
        let mut guarded = Guarded::new(source, Some(Duration::ZERO));

        let error = guarded.read(&mut [0; 10]).unwrap_err();

        assert!(error.to_string().contains("too long"), "{error}");
        assert!(guarded.seek(SeekFrom::Start(0)).is_err());
    }

    #[test]
    fn what_is_behind_the_tags_is_the_file() {
        let mut file = b"ID3\x04\0\0\0\x7f\x7f\x7f".to_vec();
        file.resize(10 + 0x001f_ffff, b'x');
        file.extend([0; 100]);
        file.extend(b"ID3\x03\0\0\0\0\0\x02xxfLaC and so on");
        let mut guarded = Guarded::new(Box::new(Cursor::new(file)), None);

        guarded.skip_tags(AudioFormat::Flac).unwrap();

        assert_eq!(guarded.byte_len(), Some(14));
        let mut text = String::new();
        guarded.read_to_string(&mut text).unwrap();
        assert_eq!(text, "fLaC and so on");
        assert_eq!(guarded.seek(SeekFrom::End(-2)).unwrap(), 12);
        assert_eq!(guarded.seek(SeekFrom::Start(5)).unwrap(), 5);
    }
}
