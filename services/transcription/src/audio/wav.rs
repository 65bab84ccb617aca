//! What the size of a WAV file allows: programs that write into a pipe cannot go back and fill in the length, and write one that is
//! much too large.

use std::io::SeekFrom;

use symphonia::core::io::MediaSource;

use super::frames_to_seconds;

/// Chunks before the sound that are looked at.
const MAX_CHUNKS: usize = 100;

/// The most seconds that a WAV file can have, by its size and its rate of bytes.
pub(super) fn most_seconds(source: &mut dyn MediaSource) -> Option<f64> {
    let size_bytes = source.byte_len()?;
    let mut position = 12;
    let mut bytes_per_second = None;
    for _ in 0..MAX_CHUNKS {
        source.seek(SeekFrom::Start(position)).ok()?;
        let mut header = [0; 8];
        source.read_exact(&mut header).ok()?;
        let [name @ .., a, b, c, d] = header;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        position += 8;
        match &name {
            b"fmt " => {
                let mut format = [0; 16];
                source.read_exact(&mut format).ok()?;
                bytes_per_second = rate(&format);
            }
            b"data" => {
                return Some(frames_to_seconds(
                    size_bytes.saturating_sub(position),
                    bytes_per_second?,
                ));
            }
            _ => {}
        }
        // Chunks begin at even places.
        position += length + length % 2;
    }
    None
}

/// Bytes a second. Of samples that are not compressed they can be reckoned, which is surer than what the header says of them.
fn rate(format: &[u8; 16]) -> Option<u32> {
    let number = |at: usize| u32::from(u16::from_le_bytes([format[at], format[at + 1]]));
    let long = |at: usize| number(at) | number(at + 2) << 16;
    let reckoned = match number(0) {
        // PCM, float, A-law, µ-law, and those that have their name elsewhere.
        1 | 3 | 6 | 7 | 0xfffe => long(4).checked_mul(number(12)),
        _ => None,
    };
    reckoned
        .filter(|rate| *rate > 0)
        .or(Some(long(8)).filter(|rate| *rate > 0))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_wav_file_is_no_longer_than_its_bytes() {
        // 16 kHz, one channel, 16 bit; ten seconds, and a length from a pipe.
        let mut wav = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0LIST\x03\0\0\0abc\0data\0\xf0\xff\x7f"
            .to_vec();
        wav.resize(wav.len() + 320_000, 0);

        assert_eq!(most_seconds(&mut Cursor::new(&wav[..])), Some(10.0));
        // A length of bytes that no rate of samples is behind.
        wav[28..32].fill(0);
        assert_eq!(most_seconds(&mut Cursor::new(&wav[..])), Some(10.0));
        assert_eq!(most_seconds(&mut Cursor::new(&wav[..30])), None);
    }
}
