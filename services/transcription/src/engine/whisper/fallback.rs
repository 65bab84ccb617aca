//! Asking again when the model is unsure of a window or repeats itself (`decode_with_fallback` in OpenAI's `transcribe.py`).

use std::io::Write;

use anyhow::Context;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use tracing::debug;

use super::listen::Failure;
use super::model::{Encoded, Generated, Model};
use crate::stop::Stop;

/// Temperatures in the order in which they are tried after 0.
const TEMPERATURES: [f32; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];
/// A text that can be made so much smaller repeats itself.
const MAX_COMPRESSION_RATIO: f64 = 2.4;
const ENDLESS_COMPRESSION_RATIO: f64 = 4.0;
/// A text of which the model is less sure than this is asked for again.
const LEAST_LOG_PROBABILITY: f32 = -1.0;
/// With so much probability nothing is said, if there is another sign of it.
const NO_SPEECH_PROBABILITY: f32 = 0.6;
/// With so much, the model must be surer of its text than else. Loud noise has 0.94 and more, speech 0.1 and less.
const HIGH_NO_SPEECH_PROBABILITY: f32 = 0.9;
const SURE_LOG_PROBABILITY: f32 = -0.7;

/// What was made of a window, and how.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What the model said.
    pub generated: Generated,
    /// The temperature that it said it at.
    pub temperature: f32,
    /// Whether it was asked without the text before the window.
    pub alone: bool,
    compression_ratio: f64,
    expected: Expected,
}

impl Attempt {
    /// Whether nothing is said in the window.
    ///
    /// The reference wants the model to think so and to be unsure of its text. Noise and tones make the model think so and write
    /// something that it is quite sure of, the same few syllables over and over as a rule, so there are more signs here.
    pub fn is_silence(&self) -> bool {
        let Generated {
            no_speech_probability,
            log_probability,
            ..
        } = self.generated;
        if no_speech_probability <= NO_SPEECH_PROBABILITY {
            return false;
        }
        let (least, most) = if no_speech_probability > HIGH_NO_SPEECH_PROBABILITY {
            (SURE_LOG_PROBABILITY, MAX_COMPRESSION_RATIO)
        } else {
            (LEAST_LOG_PROBABILITY, ENDLESS_COMPRESSION_RATIO)
        };
        !self.expected.voiced || self.compression_ratio > most || log_probability <= least
    }

    fn repeats_itself(&self) -> bool {
        self.compression_ratio > MAX_COMPRESSION_RATIO
    }

    /// Whether it repeats something, and there is time enough for all of it: then it is the speaker who does, and not the model, which
    /// goes on until it has no more room.
    fn has_time_to_repeat(&self) -> bool {
        !self.generated.is_cut
            && self.compression_ratio < ENDLESS_COMPRESSION_RATIO
            && 4 * self.generated.ids.len() <= 5 * self.expected.tokens
    }

    /// Whether it need not be asked again.
    pub fn is_good(&self) -> bool {
        self.is_silence()
            || self.generated.log_probability >= LEAST_LOG_PROBABILITY
                && (!self.repeats_itself() || self.has_time_to_repeat())
    }
}

/// What is known of a window before the model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Whether there is a voice in it at all.
    pub voiced: bool,
    /// How many tokens there should be, by the time that somebody speaks.
    pub tokens: usize,
}

/// What the model is to continue.
pub struct Prompts {
    /// The text before the window.
    pub after: Vec<String>,
    /// The same without that text, if there is any.
    pub alone: Option<Vec<String>>,
}

impl Prompts {
    /// Without a text before the window.
    pub fn alone(prompt: Vec<String>) -> Self {
        Self {
            after: prompt,
            alone: None,
        }
    }
}

/// Asks until what the model says is good.
///
/// The reference asks once for each temperature. Here the second question is the first one without the text before the window: that
/// text is what leads the model astray most often, and the answer owes nothing to chance.
pub fn hear(
    model: &Model,
    window: &Encoded,
    expected: Expected,
    prompts: &Prompts,
    stop: &Stop,
) -> Result<Attempt, Failure> {
    let ask = |prompt: &[String], temperature: f32, alone: bool| {
        stop.check()?;
        let generated = model.generate(window, prompt.to_vec(), temperature)?;
        let text = model.tokens.decode(&generated.ids)?;
        let attempt = Attempt {
            generated,
            temperature,
            alone,
            compression_ratio: compression_ratio(text.trim()),
            expected,
        };
        debug!(
            temperature,
            alone,
            log_probability = attempt.generated.log_probability,
            no_speech_probability = attempt.generated.no_speech_probability,
            compression_ratio = attempt.compression_ratio,
            voiced = expected.voiced,
            tokens = attempt.generated.ids.len(),
            expected_tokens = expected.tokens,
            "a window was heard"
        );
        Ok::<_, Failure>(attempt)
    };
    let only_alone = prompts.alone.is_none();
    let first = ask(&prompts.after, 0.0, only_alone)?;
    if first.is_good() {
        return Ok(first);
    }
    let mut attempts = vec![first];
    let alone = prompts.alone.iter().map(|prompt| (prompt, 0.0, true));
    let warmer = TEMPERATURES.map(|temperature| (&prompts.after, temperature, only_alone));
    for (prompt, temperature, alone) in alone.chain(warmer) {
        let attempt = ask(prompt, temperature, alone)?;
        if attempt.is_good() {
            return Ok(attempt);
        }
        attempts.push(attempt);
    }
    Ok(best_of(attempts).context("there is always an attempt")?)
}

/// The one that the model is surest of, those that repeat themselves only if all do. What comes after it is heard without this
/// text before it, as after the last attempt.
fn best_of(attempts: Vec<Attempt>) -> Option<Attempt> {
    let temperature = attempts.last()?.temperature;
    let any_is_fresh = attempts.iter().any(|attempt| !attempt.repeats_itself());
    let best = attempts
        .into_iter()
        .filter(|attempt| !any_is_fresh || !attempt.repeats_itself())
        .max_by(|a, b| {
            let (a, b) = (&a.generated, &b.generated);
            a.log_probability.total_cmp(&b.log_probability)
        })?;
    Some(Attempt {
        temperature,
        ..best
    })
}

/// How many times smaller zlib makes a text.
fn compression_ratio(text: &str) -> f64 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let compressed = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a few kilobytes")]
    let ratio = text.len() as f64 / compressed.len().max(1) as f64;
    ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(temperature: f32, log_probability: f32, compression_ratio: f64) -> Attempt {
        Attempt {
            generated: Generated {
                ids: tokens(200),
                tokens: Vec::new(),
                is_cut: false,
                log_probability,
                no_speech_probability: 0.1,
            },
            temperature,
            alone: false,
            compression_ratio,
            expected: Expected {
                voiced: true,
                tokens: 100,
            },
        }
    }

    fn tokens(count: usize) -> Vec<usize> {
        vec![0; count]
    }

    #[test]
    fn a_text_is_good_if_the_model_is_sure_and_does_not_repeat_itself() {
        assert!(attempt(0.0, -0.3, 1.5).is_good());
        assert!(!attempt(0.0, -1.1, 1.5).is_good());
        assert!(!attempt(0.0, -0.3, 2.5).is_good());
    }

    #[test]
    fn nothing_is_said_if_the_model_thinks_so_and_something_else_says_so_too() {
        let with = |no_speech_probability, log_probability, compression_ratio, voiced| {
            let mut attempt = attempt(0.0, log_probability, compression_ratio);
            attempt.generated.no_speech_probability = no_speech_probability;
            attempt.expected.voiced = voiced;
            assert!(!attempt.is_silence() || attempt.is_good());
            attempt.is_silence()
        };
        assert!(with(0.7, -1.1, 1.5, true));
        assert!(!with(0.7, -0.8, 1.5, true));
        assert!(with(0.95, -0.8, 1.5, true));
        assert!(!with(0.95, -0.3, 1.5, true));
        assert!(with(0.95, -0.1, 3.0, true));
        assert!(!with(0.7, -0.1, 3.0, true));
        assert!(with(0.7, -0.1, 8.0, true));
        assert!(with(0.7, -0.3, 1.5, false));
        for voiced in [true, false] {
            assert!(!with(0.5, -2.0, 8.0, voiced));
        }
    }

    #[test]
    fn a_speaker_may_repeat_something_if_there_is_time_for_it() {
        let with = |compression_ratio, count, is_cut| {
            let mut attempt = attempt(0.0, -0.2, compression_ratio);
            attempt.generated.ids = tokens(count);
            attempt.generated.is_cut = is_cut;
            attempt.is_good()
        };
        assert!(with(2.6, 125, false));
        assert!(!with(2.6, 126, false));
        assert!(!with(8.5, 100, false));
        assert!(!with(2.6, 100, true));
    }

    #[test]
    fn of_bad_texts_the_surest_that_does_not_repeat_itself_is_taken() {
        let best = best_of(vec![
            attempt(0.0, -0.2, 9.0),
            attempt(0.2, -1.4, 1.2),
            attempt(0.4, -1.2, 1.3),
            attempt(0.6, -1.3, 1.3),
        ]);
        let best = best.unwrap();
        assert_eq!(best.generated.log_probability.to_string(), "-1.2");
        // Too hot to go on from.
        assert_eq!(best.temperature.to_string(), "0.6");

        let best = best_of(vec![attempt(0.0, -1.2, 9.0), attempt(0.2, -0.4, 3.0)]).unwrap();
        assert_eq!(best.generated.log_probability.to_string(), "-0.4");
    }

    #[test]
    fn repetition_is_told_by_the_size_of_the_compressed_text() {
        // Python: len(text.encode()) / len(zlib.compress(text.encode()))
        let plain = "had he married a more amiable woman he might have been made still more respectable than he was";
        assert!((compression_ratio(plain) - 1.27).abs() < 0.15);
        assert!(compression_ratio(&"thank you ".repeat(40)) > 10.0);
        assert!(compression_ratio("") < 0.1);
    }
}
