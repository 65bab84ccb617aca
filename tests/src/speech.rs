//! Recordings with their text, and the count of words that were heard wrong.

use std::fs;

use crate::files::recording;

/// A recording and what is said in it.
pub struct Clip {
    /// The file's name.
    pub file_name: String,
    /// The file: WAV, 16 kHz, one channel, 16 bit.
    pub wav: Vec<u8>,
    /// What is said, in lower case and without punctuation.
    pub words: String,
}

/// The five LibriVox clips.
pub fn librivox() -> Vec<Clip> {
    let transcription = fs::read_to_string(recording("transcription")).unwrap();
    let clips = transcription.lines().map(|line| {
        // <s> words </s> (name)
        let (words, name) = line.rsplit_once(" </s> ").unwrap();
        let name = name.trim_matches(['(', ')'].as_slice());
        let file_name = format!("{name}.wav");
        Clip {
            wav: fs::read(recording(&file_name)).unwrap(),
            words: words.strip_prefix("<s> ").unwrap().to_owned(),
            file_name,
        }
    });
    let clips = clips.collect::<Vec<_>>();
    assert_eq!(clips.len(), 5);
    clips
}

/// Words left out, added or heard wrong (the numerator of the word error rate), without regard to case, punctuation
/// and the spelling of `mister`.
pub fn word_errors(heard: &str, spoken: &str) -> usize {
    strsim::generic_levenshtein(&words(heard), &words(spoken))
}

/// How often a text is heard in another one, give or take a third of its words.
pub fn times_heard(heard: &str, spoken: &str) -> usize {
    let (heard, spoken) = (words(heard), words(spoken));
    let most_errors = spoken.len() / 3;
    let mut times = 0;
    let mut rest = &heard[..];
    while !rest.is_empty() {
        let window = &rest[..rest.len().min(spoken.len())];
        let errors_in = |window: &[String]| strsim::generic_levenshtein(&window.to_vec(), &spoken);
        let errors = errors_in(window);
        // The best place may be a few words further.
        let next = &rest[1..];
        let better = next.len() >= spoken.len() && errors_in(&next[..spoken.len()]) < errors;
        if errors <= most_errors && !better {
            times += 1;
            rest = &rest[window.len()..];
        } else {
            rest = next;
        }
    }
    times
}

/// How many words a text has.
pub fn word_count(text: &str) -> usize {
    words(text).len()
}

/// The words of a text, in lower case and without punctuation.
pub fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(|word| if word == "mr" { "mister" } else { word }.to_owned())
        .collect()
}

/// A WAV file of 32-bit floats (format 3) with two channels at 48 kHz, from clips at 16 kHz one after another: six
/// times as many samples and twice the bytes of each.
pub fn as_large_wav(clips: &[Clip]) -> Vec<u8> {
    const RATE: u32 = 48_000;
    const FRAME_BYTES: u16 = 8;
    let mut data = Vec::new();
    for clip in clips {
        // The clips' headers are the plain 44 bytes.
        for sample in clip.wav[44..].chunks_exact(2) {
            let sample = f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32_768.0;
            for _ in 0..6 {
                data.extend_from_slice(&sample.to_le_bytes());
            }
        }
    }
    let size = u32::try_from(data.len()).unwrap();
    let mut wav = Vec::with_capacity(data.len() + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(size + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x03\0\x02\0");
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * u32::from(FRAME_BYTES)).to_le_bytes());
    wav.extend_from_slice(&FRAME_BYTES.to_le_bytes());
    wav.extend_from_slice(b"\x20\0data");
    wav.extend_from_slice(&size.to_le_bytes());
    wav.extend_from_slice(&data);
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_as_often_as_it_is_there() {
        let spoken = "he was not an ill disposed young man";
        let heard = "And so. He was not an old-sposed young man. He was not ill disposed young man, had he. He was not.";
        assert_eq!(times_heard(heard, spoken), 2);
        assert_eq!(times_heard("", spoken), 0);
    }

    #[test]
    fn a_word_left_out_added_or_changed_is_one_error_each() {
        assert_eq!(
            word_errors("Mr. Dashwood, had then", "mister dashwood had then"),
            0
        );
        assert_eq!(
            word_errors("He was a young man.", "he was not a young man"),
            1
        );
        assert_eq!(word_errors("he was not not a man", "he was not a man"), 1);
        assert_eq!(word_errors("He was hot.", "he was not"), 1);
        assert_eq!(word_errors("", "he was not"), 3);
    }
}
