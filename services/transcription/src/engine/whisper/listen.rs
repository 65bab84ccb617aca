//! A recording heard window by window, each one beginning where the last whole sentence before it ended (`transcribe` in
//! OpenAI's `transcribe.py`).

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::fallback;
use super::mel::WINDOW_SAMPLES;
use super::model::{Encoded, Model};
use super::tokens::MAX_PROMPT_TOKENS;
use super::voice::Voice;
use super::windows;
use crate::audio::decode::{DecodeError, SAMPLE_RATE, Samples};
use crate::engine::Options;

/// What was said at a higher temperature is too uncertain to go on from.
const RESET_TEMPERATURE: f32 = 0.5;

/// A second.
const SHORT_SAMPLES: usize = SAMPLE_RATE as usize;
/// 66 dB below full scale, 16 steps of 16-bit numbers.
const FAINT: f32 = 0.0005;

/// What was heard in a recording.
pub struct Heard {
    /// The text; empty if nothing was said.
    pub text: String,
    /// The language that was asked for or found.
    pub language: Option<String>,
    /// The recording's length.
    pub seconds: f64,
}

/// When to stop, although there is more to hear.
pub struct Stop {
    /// Nobody waits any more.
    pub deadline: Instant,
    /// The service ends.
    pub cut: CancellationToken,
}

/// Why nothing was heard.
#[derive(Debug)]
pub enum Failure {
    /// The time was over, or the service ended.
    Stopped,
    /// The recording, or reading it.
    Decode(DecodeError),
    /// The model.
    Engine(anyhow::Error),
}

impl Stop {
    /// Asked between two steps, none of which takes longer than a window does.
    pub fn check(&self) -> Result<(), Failure> {
        if Instant::now() >= self.deadline || self.cut.is_cancelled() {
            return Err(Failure::Stopped);
        }
        Ok(())
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
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
    };
    let mut window = Vec::with_capacity(WINDOW_SAMPLES);
    samples.fill(&mut window, WINDOW_SAMPLES)?;
    let mut voice = Voice::begin(&window);
    voice.hear(&window);
    let mut heard_samples = 0_u64;
    while !window.is_empty() {
        stop.check()?;
        let in_window = window.len().min(WINDOW_SAMPLES);
        let voiced = voice.is_in(in_window);
        let next = if !voiced && is_nothing(&window[..in_window]) {
            in_window
        } else {
            listener.hear(&window[..in_window], voiced, stop)?
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
}

impl Listener<'_> {
    /// Hears a window, and gives the number of samples after which the next one begins.
    fn hear(&mut self, samples: &[f32], voiced: bool, stop: &Stop) -> Result<usize, Failure> {
        let tokens = &self.model.tokens;
        // Encoded once, for the language and for every attempt: it is a third of the work.
        let encoded = self.model.encode(samples)?;
        let language = self.language_of(&encoded)?;
        let prompt = tokens.prompt(&self.hint, &self.previous, &language);
        let attempt = fallback::hear(self.model, &encoded, voiced, &prompt, stop)?;
        if attempt.is_silence() {
            return Ok(samples.len());
        }
        let generated = attempt.generated;
        let followed = windows::follow(&generated.ids, tokens.first_timestamp(), samples.len());
        for segment in followed.segments {
            let ids = &generated.ids[segment.clone()];
            let text = tokens.decode(ids)?;
            let takes_no_time = ids.len() > 1 && ids.first() == ids.last();
            if takes_no_time || text.trim().is_empty() {
                continue;
            }
            // A window without words tells nothing of the language, so it is asked for anew until there are some.
            self.language.get_or_insert_with(|| language.clone());
            self.text.push_str(&text);
            self.previous.extend_from_slice(&generated.tokens[segment]);
        }
        if attempt.temperature > RESET_TEMPERATURE {
            self.previous.clear();
        }
        let surplus = self.previous.len().saturating_sub(MAX_PROMPT_TOKENS);
        self.previous.drain(..surplus);
        Ok(followed.next_window)
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
