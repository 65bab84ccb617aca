//! A loaded model, and what can be asked of it.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{Context, anyhow, ensure};
use ct2rs::sys::{self, ComputeType, StorageView, WhisperOptions};
use serde::Deserialize;

use super::mel::{FRAMES, LogMel};
use super::tokens::Tokens;
use crate::memory;

/// Alternatives that are followed at once, and hypotheses to choose from at a temperature, as OpenAI's command does.
const BEAM_SIZE: usize = 5;
const BEST_OF: usize = 5;
/// Tokens that the decoder has room for, the prompt included, and those of a text in it (`max_length` in CTranslate2).
const CONTEXT_TOKENS: usize = 448;
const MAX_TOKENS: usize = CONTEXT_TOKENS / 2;
/// Whatever is drawn by lot (temperatures above 0) is drawn the same way after each start.
const SEED: u32 = 42;
/// The files of a model's directory that are needed; the vocabulary is in one of two.
const FILES: [&str; 3] = ["model.bin", "config.json", "tokenizer.json"];
const VOCABULARIES: [&str; 2] = ["vocabulary.json", "vocabulary.txt"];

/// What CTranslate2 takes from `config.json` without looking whether it is there. Its converter writes `null` for none.
#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "Option::deserialize")]
    suppress_ids: Option<Vec<usize>>,
    #[serde(deserialize_with = "Option::deserialize")]
    suppress_ids_begin: Option<Vec<usize>>,
    /// Used with multilingual models only.
    lang_ids: Option<Vec<usize>>,
}

/// A loaded model.
pub struct Model {
    whisper: sys::Whisper,
    /// Its tokens.
    pub tokens: Tokens,
    mel: LogMel,
}

/// A window of sound as the model's decoder takes it.
pub struct Encoded(StorageView<'static>);

/// What the model made of a window.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The tokens by their numbers.
    pub ids: Vec<usize>,
    /// The same tokens as they are written.
    pub tokens: Vec<String>,
    /// Whether the model stopped because there was no more room, and not because it had said everything.
    pub is_cut: bool,
    /// The mean logarithm of the tokens' probabilities.
    pub log_probability: f32,
    /// How probable it is that nothing is said.
    pub no_speech_probability: f32,
}

impl Model {
    /// Loads the model in `directory`. Its `workers` share the cores; each has the weights for itself.
    ///
    /// Fails with a sentence for the person who started the program.
    pub fn load(directory: &Path, workers: usize) -> anyhow::Result<Self> {
        let shown = directory.display();
        let no_model = |why: String| {
            format!(
                "WHISPER_MODEL: {shown} is no Whisper model in CTranslate2's format: {why}; set it to the folder of one, for example WHISPER_MODEL=/models/base"
            )
        };
        ensure!(
            directory.is_dir(),
            no_model("there is no such folder".to_owned())
        );
        let has = |file: &&str| {
            fs::metadata(directory.join(file)).is_ok_and(|file| file.is_file() && file.len() > 0)
        };
        for file in FILES {
            ensure!(
                has(&file),
                no_model(format!("the file {file} is missing or empty"))
            );
        }
        let vocabulary = VOCABULARIES.iter().find(|file| has(file));
        let vocabulary = vocabulary
            .with_context(|| no_model(format!("it has neither {}", VOCABULARIES.join(" nor "))))?;
        let tokens = Tokens::load(directory, vocabulary)?;
        check_config(directory, &tokens)
            .map_err(|error| anyhow!(no_model(format!("config.json: {error:#}"))))?;
        let threads = available_parallelism().map_or(1, usize::from);
        let config = sys::Config {
            compute_type: ComputeType::INT8,
            device_indices: vec![0; workers],
            num_threads_per_replica: threads.div_ceil(workers),
            ..sys::Config::default()
        };
        // Before anything is drawn: the library makes its generators when they are first used.
        sys::set_random_seed(SEED);
        let whisper = sys::Whisper::new(directory, config).with_context(|| {
            format!("WHISPER_MODEL: {shown} cannot be loaded: copy the model again, a file of it is cut off or of another kind")
        })?;
        // From now on and not from the start: jemalloc gives memory of 8 MiB and more back at once if its first piece was
        // asked for before this, and the matrices of a window are large and live for milliseconds.
        memory::give_back();
        let mel = LogMel::new(whisper.n_mels());
        Ok(Self {
            whisper,
            tokens,
            mel,
        })
    }

    /// Encodes up to 30 s of samples.
    pub fn encode(&self, samples: &[f32]) -> anyhow::Result<Encoded> {
        let mut features = self.mel.of(samples);
        let shape = [1, self.mel.bands(), FRAMES];
        let features = StorageView::new(&shape, &mut features, sys::Device::CPU)
            .context("handing the spectrogram over")?;
        Ok(Encoded(self.whisper.encode(&features, false)?))
    }

    /// The language that is most probably spoken, and how probable it is.
    pub fn detect_language(&self, window: &Encoded) -> anyhow::Result<(String, f32)> {
        if !self.tokens.is_multilingual() {
            return Ok(("en".to_owned(), 1.0));
        }
        let detected = self.whisper.detect_language(&window.0)?;
        let best = detected.into_iter().flatten().next();
        let best = best.context("the model named no language")?;
        let language = best.language.trim_matches(['<', '|', '>'].as_slice());
        Ok((language.to_owned(), best.probability))
    }

    /// What is said in a window, after a prompt. At temperature 0 it is what is most probable; above, chance has a part in it.
    pub fn generate(
        &self,
        window: &Encoded,
        prompt: Vec<String>,
        temperature: f32,
    ) -> anyhow::Result<Generated> {
        let common = WhisperOptions {
            return_scores: true,
            return_no_speech_prob: true,
            ..WhisperOptions::default()
        };
        let settings = if temperature > 0.0 {
            WhisperOptions {
                beam_size: 1,
                num_hypotheses: BEST_OF,
                sampling_topk: 0,
                sampling_temperature: temperature,
                ..common
            }
        } else {
            WhisperOptions {
                beam_size: BEAM_SIZE,
                ..common
            }
        };
        let prompt_tokens = prompt.len();
        let results = self.whisper.generate(&window.0, &[prompt], &settings)?;
        let result = results.into_iter().next();
        let mut result = result.context("the model gave no result")?;
        ensure!(
            !result.sequences.is_empty() && !result.sequences_ids.is_empty(),
            "the model gave no text"
        );
        let ids = result.sequences_ids.swap_remove(0);
        let room = MAX_TOKENS.min(CONTEXT_TOKENS.saturating_sub(prompt_tokens));
        let is_cut = ids.len() + 1 >= room;
        // CTranslate2 divides the score by the length of the text; the reference counts the end token too.
        #[expect(clippy::cast_precision_loss, reason = "at most 448 tokens")]
        let length = ids.len() as f32;
        let score = result.scores.first().copied().unwrap_or(0.0);
        Ok(Generated {
            ids,
            tokens: result.sequences.swap_remove(0),
            is_cut,
            log_probability: score * length / (length + 1.0),
            no_speech_probability: result.no_speech_prob,
        })
    }
}

/// Fails if `config.json` is another program's (Hugging Face's has the same name), or another model's.
fn check_config(directory: &Path, tokens: &Tokens) -> anyhow::Result<()> {
    let text = fs::read_to_string(directory.join("config.json")).context("it cannot be read")?;
    let Config {
        suppress_ids,
        suppress_ids_begin,
        lang_ids,
    } = serde_json::from_str(&text).context("it is not CTranslate2's")?;
    let lang_ids = lang_ids.unwrap_or_default();
    let suppressed = [suppress_ids, suppress_ids_begin].into_iter().flatten();
    ensure!(
        suppressed
            .flatten()
            .chain(lang_ids.iter().copied())
            .all(|id| id < tokens.count()),
        "it names tokens that the vocabulary does not have"
    );
    ensure!(
        !lang_ids.is_empty() || !tokens.is_multilingual(),
        "it names no languages, and the vocabulary has some"
    );
    Ok(())
}
