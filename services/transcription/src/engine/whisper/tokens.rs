//! Tokens: the words between the model and the text.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use tokenizers::Tokenizer;

/// Tokens of a prompt that the model has room for: half of its text context, less one (OpenAI's `decoding.py`).
pub const MAX_PROMPT_TOKENS: usize = 223;
/// Tokens of the client's words in it.
const MAX_HINT_TOKENS: usize = MAX_PROMPT_TOKENS / 2;

const START: &str = "<|startoftranscript|>";
const START_OF_PREVIOUS: &str = "<|startofprev|>";
const TRANSCRIBE: &str = "<|transcribe|>";
const NO_TIMESTAMPS: &str = "<|notimestamps|>";
const END_OF_TEXT: &str = "<|endoftext|>";

/// A model's tokens.
pub struct Tokens {
    tokenizer: Tokenizer,
    end_of_text: u32,
    first_timestamp: u32,
    multilingual: bool,
    count: usize,
}

impl Tokens {
    /// Reads `tokenizer.json`, and compares it with the model's own list of tokens, the file `vocabulary`.
    pub fn load(directory: &Path, vocabulary: &str) -> anyhow::Result<Self> {
        let file = directory.join("tokenizer.json");
        let shown = file.display();
        let mut tokenizer = Tokenizer::from_file(&file).map_err(|error| {
            anyhow::anyhow!("WHISPER_MODEL: {shown} cannot be read: {error}; copy the model again")
        })?;
        let id = |token: &str| {
            tokenizer.token_to_id(token).with_context(|| {
                format!("WHISPER_MODEL: {shown} has no token {token}: it is no Whisper model's")
            })
        };
        let start = id(START)?;
        // The timestamps follow this one; English-only tokenizers do not list them.
        let no_timestamps = id(NO_TIMESTAMPS)?;
        let end_of_text = id(END_OF_TEXT)?;
        let in_model = read_vocabulary(&directory.join(vocabulary))?;
        for (token, id) in [
            (START, start),
            (NO_TIMESTAMPS, no_timestamps),
            (END_OF_TEXT, end_of_text),
        ] {
            ensure!(
                in_model.get(id as usize).is_some_and(|name| name == token),
                "WHISPER_MODEL: {shown} belongs to another model than {vocabulary} beside it: {token} is not token {id} there"
            );
        }
        // What a client writes is words, also if it looks like an order to the model.
        tokenizer.set_encode_special_tokens(true);
        // The multilingual vocabulary has one more text token than GPT-2's 50 256, on which English-only models stand.
        let multilingual = start > 50_257;
        Ok(Self {
            tokenizer,
            end_of_text,
            first_timestamp: no_timestamps + 1,
            multilingual,
            count: in_model.len(),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
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

    /// The tokens of words that come before what the model hears. Of too many, the last are kept: there must be room for the text
    /// before a window too.
    pub fn encode(&self, words: &str) -> anyhow::Result<Vec<String>> {
        let encoded = self
            .tokenizer
            .encode(format!(" {}", words.trim()), false)
            .map_err(|error| anyhow::anyhow!("turning the prompt into tokens: {error}"))?;
        Ok(last(encoded.get_tokens(), MAX_HINT_TOKENS).to_vec())
    }

    /// What the model continues: the client's words and the text before, as far as there is room, then what it is to do. An
    /// English-only model is told only to start; it never saw a language or a task in training and hears worse with one.
    pub fn prompt(&self, hint: &[String], previous: &[String], language: &str) -> Vec<String> {
        let previous = last(previous, MAX_PROMPT_TOKENS.saturating_sub(hint.len()));
        let mut prompt = Vec::with_capacity(hint.len() + previous.len() + 4);
        if !hint.is_empty() || !previous.is_empty() {
            prompt.push(START_OF_PREVIOUS.to_owned());
            prompt.extend_from_slice(hint);
            prompt.extend_from_slice(previous);
        }
        prompt.push(START.to_owned());
        if self.multilingual {
            prompt.push(language_token(language));
            prompt.push(TRANSCRIBE.to_owned());
        }
        prompt
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

fn last<T>(tokens: &[T], most: usize) -> &[T] {
    &tokens[tokens.len().saturating_sub(most)..]
}

/// The tokens of the model in their order: a list in JSON, or one a line.
fn read_vocabulary(file: &Path) -> anyhow::Result<Vec<String>> {
    let unreadable = || {
        format!(
            "WHISPER_MODEL: {} cannot be read: copy the model again",
            file.display()
        )
    };
    let text = fs::read_to_string(file).with_context(unreadable)?;
    if file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return serde_json::from_str(&text).with_context(unreadable);
    }
    Ok(text.lines().map(str::to_owned).collect())
}
