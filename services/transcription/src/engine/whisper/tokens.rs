//! Tokens: the words between the model and the text.

use std::path::Path;

use anyhow::Context;
use tokenizers::Tokenizer;

use crate::engine::Prompt;

/// Tokens of a prompt that the model has room for: half of its text context, less one (OpenAI's `decoding.py`).
const MAX_PROMPT_TOKENS: usize = 223;

const START: &str = "<|startoftranscript|>";
const START_OF_PREVIOUS: &str = "<|startofprev|>";
const TRANSCRIBE: &str = "<|transcribe|>";

/// A model's tokens.
pub struct Tokens {
    tokenizer: Tokenizer,
    end_of_text: u32,
    first_timestamp: u32,
    multilingual: bool,
}

impl Tokens {
    /// Reads `tokenizer.json`.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let tokenizer = Tokenizer::from_file(file)
            .map_err(|error| anyhow::anyhow!("WHISPER_MODEL: {shown} cannot be read: {error}"))?;
        let id = |token: &str| {
            tokenizer.token_to_id(token).with_context(|| {
                format!("WHISPER_MODEL: {shown} has no token {token}: it is no Whisper model's")
            })
        };
        let start = id(START)?;
        // The timestamps follow this one; English-only tokenizers do not list them.
        let first_timestamp = id("<|notimestamps|>")? + 1;
        // The multilingual vocabulary has one more text token than GPT-2's 50 256, on which English-only models stand.
        let multilingual = start > 50_257;
        Ok(Self {
            end_of_text: id("<|endoftext|>")?,
            first_timestamp,
            multilingual,
            tokenizer,
        })
    }

    /// Whether the model was trained on more than English.
    pub fn is_multilingual(&self) -> bool {
        self.multilingual
    }

    /// Whether the model can be told that this language is spoken (a primary subtag).
    pub fn knows_language(&self, language: &str) -> bool {
        if !self.multilingual {
            return language == "en";
        }
        self.tokenizer
            .token_to_id(&language_token(language))
            .is_some()
    }

    /// The id of the timestamp 0.00; those after it are 20 ms apart.
    pub fn first_timestamp(&self) -> usize {
        self.first_timestamp as usize
    }

    /// What the model continues: the words that help, then what it is to do. An English-only model is told only to
    /// start; it never saw a language or a task in training and hears worse with one.
    pub fn prompt(&self, language: &str, words: Option<&Prompt>) -> anyhow::Result<Vec<String>> {
        let mut prompt = Vec::new();
        if let Some(words) = words {
            let words = format!(" {}", words.as_str());
            let encoded = self
                .tokenizer
                .encode(words, false)
                .map_err(|error| anyhow::anyhow!("turning the prompt into tokens: {error}"))?;
            let tokens = encoded.get_tokens();
            let last = tokens.len().saturating_sub(MAX_PROMPT_TOKENS);
            prompt.push(START_OF_PREVIOUS.to_owned());
            prompt.extend_from_slice(&tokens[last..]);
        }
        prompt.push(START.to_owned());
        if self.multilingual {
            prompt.push(language_token(language));
            prompt.push(TRANSCRIBE.to_owned());
        }
        Ok(prompt)
    }

    /// The text of a segment, without timestamps and other special tokens.
    pub fn decode(&self, tokens: &[usize]) -> anyhow::Result<String> {
        let text = tokens
            .iter()
            .filter_map(|&token| u32::try_from(token).ok())
            .filter(|&token| token < self.end_of_text)
            .collect::<Vec<_>>();
        self.tokenizer
            .decode(&text, true)
            .map_err(|error| anyhow::anyhow!("turning tokens into text: {error}"))
    }
}

fn language_token(language: &str) -> String {
    format!("<|{language}|>")
}
