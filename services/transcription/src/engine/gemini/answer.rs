//! What Gemini answered. An answer with status 200 can be a failure, and a failure can have a text.

use serde::Deserialize;
use serde_json::Value;

use crate::engine::{Language, Options, Transcription};
use crate::error::Error;

/// Languages that are written without spaces between words.
const WITHOUT_SPACES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "km"];

/// An answer of `generateContent`. Every part may be missing, and words that are new are words like others.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Answer {
    candidates: Vec<Candidate>,
    prompt_feedback: PromptFeedback,
    usage_metadata: Usage,
    model_version: String,
    response_id: String,
    model_status: ModelStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate {
    content: Content,
    finish_reason: Option<String>,
    speech_result: SpeechResult,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    parts: Vec<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    thought: bool,
    audio_transcription: Option<AudioTranscription>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AudioTranscription {
    text: Option<String>,
    language_code: Option<String>,
    words: Vec<Word>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Word {
    word: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpeechResult {
    language_code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    #[serde(rename = "promptTokenCount")]
    prompt: u64,
    #[serde(rename = "candidatesTokenCount")]
    candidates: u64,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModelStatus {
    retirement_time: Option<String>,
}

impl Answer {
    /// The tokens that were counted: put in, given out.
    pub fn tokens(&self) -> (u64, u64) {
        let Usage {
            prompt,
            candidates,
            thoughts,
        } = self.usage_metadata;
        (prompt, candidates + thoughts)
    }

    /// The id of the answer.
    pub fn id(&self) -> &str {
        &self.response_id
    }

    /// The model that answered.
    pub fn model(&self) -> &str {
        &self.model_version
    }

    /// Why it ended, in Google's word.
    pub fn finish_reason(&self) -> &str {
        let first = self.candidates.first();
        first
            .and_then(|first| first.finish_reason.as_deref())
            .unwrap_or_default()
    }

    /// When the model is taken away, if that is decided.
    pub fn retirement(&self) -> Option<&str> {
        self.model_status.retirement_time.as_deref()
    }

    /// The text, or why there is none.
    pub fn into_transcription(
        self,
        is_transcriber: bool,
        options: &Options,
    ) -> Result<Transcription, Error> {
        if let Some(reason) = self.prompt_feedback.block_reason {
            return Err(Error::ContentBlocked { reason });
        }
        let Some(candidate) = self.candidates.into_iter().next() else {
            return Err(Error::Engine(anyhow::anyhow!(
                "Gemini answered without a candidate"
            )));
        };
        let truncated = match candidate.finish_reason.as_deref() {
            Some("STOP") => false,
            Some("MAX_TOKENS" | "CONTINUATION") => true,
            Some(
                reason @ ("SAFETY" | "PROHIBITED_CONTENT" | "BLOCKLIST" | "SPII" | "LANGUAGE"
                | "RECITATION"),
            ) => {
                let reason = reason.to_owned();
                return Err(Error::ContentBlocked { reason });
            }
            reason => {
                let reason = reason.unwrap_or("no reason");
                return Err(Error::Engine(anyhow::anyhow!("Gemini ended with {reason}")));
            }
        };
        let asked = || {
            options
                .language
                .as_ref()
                .map(|language| language.tag().to_owned())
        };
        let (text, language) = if is_transcriber {
            candidate.heard()
        } else {
            candidate.written(truncated)?
        };
        // A model may write anything.
        let is_tag = |tag: &String| Language::parse(tag).is_ok();
        let language = language.filter(is_tag);
        Ok(Transcription {
            text: text.trim().to_owned(),
            language: language.or_else(asked),
            truncated,
        })
    }
}

impl Candidate {
    /// The turns of the speakers, one after the other.
    fn heard(self) -> (String, Option<String>) {
        let mut language = self.speech_result.language_code;
        let mut text = String::new();
        for part in self.content.parts.into_iter().filter(|part| !part.thought) {
            let Part {
                text: of_part,
                audio_transcription,
                ..
            } = part;
            let heard = audio_transcription.unwrap_or_default();
            let of_words = || heard.text_of_words();
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            let turn = some(heard.text.clone()).or(some(of_part));
            let turn = turn.unwrap_or_else(of_words);
            language = language.or(heard.language_code);
            if !text.is_empty() && !turn.is_empty() && !text.ends_with(char::is_whitespace) {
                text.push(' ');
            }
            text.push_str(&turn);
        }
        (text, language)
    }

    /// The JSON that a model was asked to write, which is a string in the answer.
    fn written(self, truncated: bool) -> Result<(String, Option<String>), Error> {
        let parts = self.content.parts.into_iter().filter(|part| !part.thought);
        let written = parts.filter_map(|part| part.text).collect::<String>();
        let bare = without_fence(&written);
        if bare.is_empty() {
            return Ok((String::new(), None));
        }
        if let Ok(Value::Object(object)) = serde_json::from_str(bare) {
            let text_of = |name| object.get(name).and_then(Value::as_str).map(str::to_owned);
            if let Some(text) = text_of("text") {
                return Ok((text, text_of("language").filter(|tag| !tag.is_empty())));
            }
        }
        if truncated {
            // It may have ended before the text began.
            return Ok((broken_off(bare).unwrap_or_default(), None));
        }
        Err(Error::Engine(anyhow::anyhow!(
            "Gemini wrote something else than it was asked for"
        )))
    }
}

impl AudioTranscription {
    /// Google's own example has words and no text.
    fn text_of_words(&self) -> String {
        let language = self.language_code.as_deref().unwrap_or_default();
        let primary = language.split('-').next().unwrap_or_default();
        let separator = if WITHOUT_SPACES.contains(&primary) {
            ""
        } else {
            " "
        };
        let words = self.words.iter().map(|word| word.word.trim());
        let words = words.filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(separator)
    }
}

/// Some models put JSON into a fence of Markdown all the same.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```") else {
        return text;
    };
    let inner = inner.strip_prefix("json").unwrap_or(inner);
    inner.strip_suffix("```").unwrap_or(inner).trim()
}

/// The text of an object that ends in the middle of it.
fn broken_off(json: &str) -> Option<String> {
    let (_, after) = json.split_once("\"text\"")?;
    let mut text = after
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .to_owned();
    // The end may be in the middle of an escape: a little less is whole again.
    for _ in 0..12 {
        if let Ok(text) = serde_json::from_str::<String>(&format!("{text}\"")) {
            return Some(text);
        }
        text.pop()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(answer: Value, is_transcriber: bool) -> Result<Transcription, Error> {
        let answer: Answer = serde_json::from_value(answer).unwrap();
        answer.into_transcription(is_transcriber, &Options::default())
    }

    fn candidate(reason: &Value, parts: &Value) -> Value {
        json!({"candidates": [{"finishReason": reason, "content": {"parts": parts}}]})
    }

    #[test]
    fn words_without_text_become_text() {
        let words = |language: &str| json!([{"audioTranscription": {"languageCode": language, "words": [{"word": "Hi"}, {"word": "there."}]}}]);

        let english = read(candidate(&json!("STOP"), &words("en-US")), true).unwrap();
        let japanese = read(candidate(&json!("STOP"), &words("ja-JP")), true).unwrap();

        assert_eq!(english.text, "Hi there.");
        assert_eq!(english.language.as_deref(), Some("en-US"));
        assert_eq!(japanese.text, "Hithere.");
    }

    #[test]
    fn turns_follow_one_another_and_thoughts_are_left_out() {
        let parts = json!([
            {"text": "I think", "thought": true},
            {"text": "One.", "audioTranscription": {"text": "One."}},
            {"audioTranscription": {"text": "Two."}},
            {"text": "Three."},
        ]);

        assert_eq!(
            read(candidate(&json!("STOP"), &parts), true).unwrap().text,
            "One. Two. Three."
        );
    }

    #[test]
    fn every_end_is_told_apart_and_an_unknown_one_is_a_failure() {
        let end = |reason: Value| read(candidate(&reason, &json!([{"text": "some"}])), true);

        assert!(!end(json!("STOP")).unwrap().truncated);
        for reason in ["MAX_TOKENS", "CONTINUATION"] {
            assert!(end(json!(reason)).unwrap().truncated, "{reason}");
        }
        for reason in [
            "SAFETY",
            "PROHIBITED_CONTENT",
            "BLOCKLIST",
            "SPII",
            "LANGUAGE",
            "RECITATION",
        ] {
            let error = end(json!(reason)).unwrap_err();
            assert!(
                matches!(error, Error::ContentBlocked { .. }),
                "{reason}: {error:?}"
            );
        }
        for reason in [
            json!("OTHER"),
            json!("MALFORMED_RESPONSE"),
            json!("SOMETHING_NEW"),
            json!(null),
        ] {
            assert!(
                matches!(end(reason.clone()), Err(Error::Engine(_))),
                "{reason}"
            );
        }
        let blocked = json!({"promptFeedback": {"blockReason": "SOMETHING_NEW"}});
        assert!(matches!(
            read(blocked, true),
            Err(Error::ContentBlocked { .. })
        ));
        assert!(matches!(read(json!({}), true), Err(Error::Engine(_))));
        let silence = json!({"candidates": [{"finishReason": "STOP"}]});
        assert_eq!(read(silence, true).unwrap().text, "");
    }

    #[test]
    fn what_another_model_wrote_is_read_leniently() {
        let wrote = |reason: &str, text: &str| {
            read(candidate(&json!(reason), &json!([{"text": text}])), false)
        };

        let plain = wrote("STOP", r#"{"language": "de", "text": "Guten Tag"}"#).unwrap();
        assert_eq!(
            (plain.text.as_str(), plain.language.as_deref()),
            ("Guten Tag", Some("de"))
        );
        let fenced = wrote("STOP", "```json\n{\"text\": \"Hi\"}\n```").unwrap();
        assert_eq!(fenced.text, "Hi");
        let cut = wrote(
            "MAX_TOKENS",
            r#"{"language": "en", "text": "He said \"no\" and \u00"#,
        )
        .unwrap();
        assert_eq!(cut.text, "He said \"no\" and");
        assert!(cut.truncated);
        let early = wrote("MAX_TOKENS", r#"{"language": "e"#).unwrap();
        assert_eq!((early.text.as_str(), early.truncated), ("", true));
        assert!(wrote("STOP", "I cannot do that.").is_err());
        let odd = wrote("STOP", r#"{"language": "English, I think", "text": "Hi"}"#).unwrap();
        assert_eq!(odd.language, None);
    }
}
