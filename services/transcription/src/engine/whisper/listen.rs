//! A recording heard window by window, each one beginning where the last whole sentence before it ended (`transcribe` in
//! OpenAI's `transcribe.py`).

use strsim::normalized_levenshtein;
use tracing::debug;

use super::fallback::{self, Attempt, Expected, Prompts};
use super::mel::WINDOW_SAMPLES;
use super::model::{Encoded, Generated, Model};
use super::tokens::MAX_PROMPT_TOKENS;
use super::voice::{FRAMES_A_SECOND, Voice};
use super::windows::{self, Followed, Segment};
use crate::audio::decode::{DecodeError, SAMPLE_RATE, Samples};
use crate::engine::Options;
use crate::stop::{Stop, Stopped};
use crate::storage::StorageError;

/// What was said at a higher temperature is too uncertain to go on from.
const RESET_TEMPERATURE: f32 = 0.5;

/// A second.
const SHORT_SAMPLES: usize = SAMPLE_RATE as usize;
/// 66 dB below full scale, 16 steps of 16-bit numbers.
const FAINT: f32 = 0.0005;

/// How tokens write a space.
const SPACE: char = 'Ġ';
/// Letters of a sentence that is no mere "thank you" or "all right".
const LEAST_ECHO: usize = 20;
/// So similar are two spellings of the same words; with a sentence more, less or another they are not.
const SAME_WORDS: f64 = 0.9;

/// What was heard in a recording.
pub struct Heard {
    /// The text; empty if nothing was said.
    pub text: String,
    /// The language that was asked for or found.
    pub language: Option<String>,
    /// The recording's length.
    pub seconds: f64,
}

/// Why nothing was heard.
#[derive(Debug)]
pub enum Failure {
    /// The time was over, or the service ended.
    Stopped,
    /// The recording cannot be decoded: why, for the client.
    Undecodable(String),
    /// The recording could not be read from the bucket.
    Read(StorageError),
    /// The model.
    Engine(anyhow::Error),
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Undecodable(why) => Self::Undecodable(why),
            DecodeError::Read(error) => Self::Read(error),
            DecodeError::Stopped(_) => Self::Stopped,
        }
    }
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Engine(error)
    }
}

/// Hears a recording to its end. The memory it takes does not grow with the recording.
pub fn listen(
    model: &Model,
    samples: &mut Samples,
    options: &Options,
    stop: &Stop,
) -> Result<Heard, Failure> {
    let mut listener = Listener {
        model,
        language: options
            .language
            .as_ref()
            .map(|language| language.primary().to_owned()),
        hint: match &options.prompt {
            Some(prompt) => model.tokens.encode(prompt.as_str())?,
            None => Vec::new(),
        },
        previous: Vec::new(),
        text: String::new(),
        pace: Pace::USUAL,
    };
    let mut window = Vec::with_capacity(WINDOW_SAMPLES);
    samples.fill(&mut window, WINDOW_SAMPLES)?;
    let mut voice = Voice::begin(&window);
    voice.hear(&window);
    let mut heard_samples = 0_u64;
    while !window.is_empty() {
        stop.check()?;
        let in_window = window.len().min(WINDOW_SAMPLES);
        let next = if !voice.may_be_in(in_window) && is_nothing(&window[..in_window]) {
            in_window
        } else {
            listener.hear(&window[..in_window], &voice, stop)?
        };
        let next = next.clamp(1, in_window);
        window.drain(..next);
        voice.forget(next);
        heard_samples += next as u64;
        let before = window.len();
        samples.fill(&mut window, WINDOW_SAMPLES)?;
        voice.hear(&window[before..]);
    }
    #[expect(clippy::cast_precision_loss, reason = "2^52 samples are 9,000 years")]
    let seconds = heard_samples as f64 / f64::from(SAMPLE_RATE);
    Ok(Heard {
        text: listener.text.trim().to_owned(),
        language: listener.language,
        seconds,
    })
}

/// Whether samples without a voice need no asking: what the last whole sentence left of a recording, or an empty line.
fn is_nothing(samples: &[f32]) -> bool {
    samples.len() < SHORT_SAMPLES || samples.iter().all(|sample| sample.abs() < FAINT)
}

/// What is known of a recording so far.
struct Listener<'a> {
    model: &'a Model,
    language: Option<String>,
    /// The words that the client gave, as tokens; they go before every window.
    hint: Vec<String>,
    /// The end of the text so far, with its timestamps, as far as it helps to hear what follows.
    previous: Vec<String>,
    text: String,
    pace: Pace,
}

/// How fast is spoken.
struct Pace {
    tokens: usize,
    voiced_frames: usize,
}

impl Pace {
    /// English has about three tokens a second; what is heard soon counts for more than this.
    const USUAL: Self = Self {
        tokens: 30,
        voiced_frames: 10 * FRAMES_A_SECOND,
    };
    /// A segment of fewer seconds may be one long word.
    const LEAST_SECONDS: usize = 4;

    /// Whether a segment has less than half as many words as were to be expected.
    fn is_thin(&self, segment: &Segment, voice: &Voice) -> bool {
        let frames = voice.frames_in(segment.time.clone());
        frames >= Self::LEAST_SECONDS * FRAMES_A_SECOND
            && 2 * segment.tokens.len() < self.tokens_in(frames)
    }

    /// How many tokens so many frames of a voice have.
    fn tokens_in(&self, voiced_frames: usize) -> usize {
        self.tokens * voiced_frames / self.voiced_frames
    }

    fn add(&mut self, segment: &Segment, voice: &Voice) {
        self.tokens += segment.tokens.len();
        self.voiced_frames += voice.frames_in(segment.time.clone());
    }
}

/// The letters and digits of a text, as its tokens write them, without timestamps.
fn letters(tokens: &[String]) -> String {
    tokens
        .iter()
        .filter(|token| !token.starts_with("<|"))
        .flat_map(|token| token.chars())
        .filter(|character| character.is_alphanumeric() && *character != SPACE)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether two texts differ in no more than their spelling, as far as both go: the window's end cuts them off where it likes.
fn are_same_words(one: &str, other: &str) -> bool {
    let both = one.chars().count().min(other.chars().count());
    let [one, other] = [one, other].map(|text| text.chars().take(both).collect::<String>());
    normalized_levenshtein(&one, &other) >= SAME_WORDS
}

/// Of two places where something is left out, or none, the later is better.
fn later(lost: Option<usize>) -> usize {
    lost.unwrap_or(usize::MAX)
}

impl Listener<'_> {
    /// Hears a window, and gives the number of samples after which the next one begins.
    fn hear(&mut self, samples: &[f32], voice: &Voice, stop: &Stop) -> Result<usize, Failure> {
        // Encoded once, for the language and for every attempt: it is a third of the work.
        let encoded = self.model.encode(samples)?;
        let language = self.language_of(&encoded)?;
        let expected = Expected {
            voiced: voice.may_be_in(samples.len()),
            tokens: self.pace.tokens_in(voice.frames_in(0..samples.len())),
        };
        let tokens = &self.model.tokens;
        let alone = tokens.prompt(&self.hint, &[], &language);
        let prompts = if self.previous.is_empty() {
            Prompts::alone(alone)
        } else {
            Prompts {
                after: tokens.prompt(&self.hint, &self.previous, &language),
                alone: Some(alone),
            }
        };
        let ask = |prompts: &Prompts| -> Result<_, Failure> {
            let attempt = fallback::hear(self.model, &encoded, expected, prompts, stop)?;
            let followed = self.follow(&attempt, samples.len())?;
            let is_thin = |segment: &Segment| self.pace.is_thin(segment, voice);
            let lost = followed.lost(|range| voice.speaks_in(range), is_thin);
            Ok((attempt, followed, lost))
        };
        let (mut attempt, mut followed, lost) = ask(&prompts)?;
        if attempt.is_silence() {
            return Ok(samples.len());
        }
        let echoes = self.echoes(&attempt, &followed.segments);
        if (lost.is_some() || !echoes.is_empty())
            && !attempt.alone
            && let Some(prompt) = prompts.alone
        {
            let again = ask(&Prompts::alone(prompt))?;
            let heard = letters(&again.0.generated.tokens);
            let said = letters(&attempt.generated.tokens);
            let is_rarer = |echo: &String| {
                heard.matches(echo.as_str()).count() < said.matches(echo.as_str()).count()
            };
            let is_echo = echoes.iter().any(is_rarer) && !are_same_words(&said, &heard);
            debug!(
                lost,
                then = again.2,
                is_echo,
                "a window was heard again without the text before it"
            );
            let (before, after) = (later(lost), later(again.2));
            if again.0.is_good()
                && !again.0.is_silence()
                && (after > before || is_echo && after == before)
            {
                (attempt, followed, _) = again;
            }
        }
        self.take(&attempt, &followed.segments, &language, voice)?;
        Ok(followed.next_window)
    }

    /// What is said twice in a row, as letters. Either the speaker repeats a sentence or the model does: then it does not hear it as
    /// often without the text before the window.
    fn echoes(&self, attempt: &Attempt, segments: &[Segment]) -> Vec<String> {
        let mut before = letters(&self.previous);
        let mut echoes = Vec::new();
        for segment in segments {
            let said = letters(&attempt.generated.tokens[segment.tokens.clone()]);
            if said.len() >= LEAST_ECHO && before.ends_with(&said) {
                echoes.push(said.clone());
            }
            before = said;
        }
        echoes
    }

    /// The segments that have a text.
    fn follow(&self, attempt: &Attempt, samples: usize) -> Result<Followed, Failure> {
        let tokens = &self.model.tokens;
        let ids = &attempt.generated.ids;
        let mut followed = windows::follow(ids, tokens.first_timestamp(), samples);
        let mut with_text = Vec::with_capacity(followed.segments.len());
        for segment in followed.segments {
            let text = tokens.decode(&ids[segment.tokens.clone()])?;
            if !segment.time.is_empty() && !text.trim().is_empty() {
                with_text.push(segment);
            }
        }
        followed.segments = with_text;
        Ok(followed)
    }

    /// Appends what was said in a window.
    fn take(
        &mut self,
        attempt: &Attempt,
        segments: &[Segment],
        language: &str,
        voice: &Voice,
    ) -> Result<(), Failure> {
        let Generated { ids, tokens, .. } = &attempt.generated;
        if attempt.alone {
            self.previous.clear();
        }
        for segment in segments {
            let text = self.model.tokens.decode(&ids[segment.tokens.clone()])?;
            self.text.push_str(&text);
            self.pace.add(segment, voice);
            self.previous
                .extend_from_slice(&tokens[segment.tokens.clone()]);
            // A window without words tells nothing of the language, so it is asked for anew until there are some.
            self.language.get_or_insert_with(|| language.to_owned());
        }
        if attempt.temperature > RESET_TEMPERATURE {
            self.previous.clear();
        }
        let surplus = self.previous.len().saturating_sub(MAX_PROMPT_TOKENS);
        self.previous.drain(..surplus);
        Ok(())
    }

    fn language_of(&self, window: &Encoded) -> Result<String, Failure> {
        if let Some(language) = &self.language {
            return Ok(language.clone());
        }
        let (language, probability) = self.model.detect_language(window)?;
        debug!(language, probability, "a language was detected");
        Ok(language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sentences_are_the_same_if_their_letters_are() {
        let tokens = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let one = tokens("<|0.00|> ĠHe Ġwas Ġnot Ġill - dis posed . <|2.00|>");
        let other = tokens("<|4.00|> Ġhe Ġwas , Ġnot Ġill dis posed <|6.48|>");
        assert_eq!(letters(&one), "hewasnotilldisposed");
        assert_eq!(letters(&one), letters(&other));
    }

    #[test]
    fn another_sentence_is_no_other_spelling() {
        let said = "theyhadtwochildrenhewasnotanilldisposedyoungmanhewasnotanilldisposedyoungman";
        let spelled =
            "theyhadtwochildrenhewasnotanolddisposedyoungmanhewasnotanilldisposedyoungmanunlessto";
        let other =
            "theyhadtwochildrenunlesstobecoldheartedisilldisposedhewasnotanilldisposedyoungman";
        assert!(are_same_words(said, spelled));
        assert!(!are_same_words(said, other));
    }
}
