//! `generateContent`: what a request must be beyond the types of its fields, and the answer.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::counts::Call;
use crate::faults::{Fault, Lost, On, Spoiled};
use crate::files::{Heard, expect_json};
use crate::refusal::Refusal;
use crate::{StandIn, wire};

/// The model for speech: it takes no prompt.
const TRANSCRIBE: &str = "gemini-3.5-transcribe";
const TRANSCRIBE_TYPES: &[&str] = &[
    "wav", "mp3", "aiff", "aac", "ogg", "flac", "mpeg", "m4a", "l16", "opus", "alaw", "mulaw",
    "webm",
];
/// Models that follow a prompt.
const GENERAL: &[&str] = &[
    "gemini-3.8-flash",
    "gemini-3.6-flash",
    "gemini-3.5-flash-lite",
    "gemini-4-argon",
    "gemini-3.1-pro-preview",
];
const GENERAL_TYPES: &[&str] = &["wav", "mp3", "aiff", "aac", "ogg", "flac"];
const MOST_OUTPUT_TOKENS: i64 = 65_536;
const MOST_VOCABULARY: usize = 1_000;

#[derive(Deserialize)]
struct GenerateContent {
    #[serde(default)]
    contents: Vec<Content>,
    system_instruction: Option<Content>,
    #[serde(default)]
    generation_config: GenerationConfig,
}

#[derive(Deserialize)]
struct Content {
    role: Option<String>,
    #[serde(default)]
    parts: Vec<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    audio_transcription_config: Option<AudioTranscriptionConfig>,
    candidate_count: Option<i64>,
    max_output_tokens: Option<i64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    response_mime_type: Option<String>,
    response_schema: Option<Value>,
    response_json_schema: Option<Value>,
    response_format: Vec<ResponseFormat>,
    thinking_config: ThinkingConfig,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AudioTranscriptionConfig {
    language_codes: Vec<String>,
    custom_vocabulary: Vec<String>,
    adaptation_phrases: Vec<String>,
    word_timestamp: bool,
    diarization: bool,
    mode: Option<String>,
    source_text: Option<String>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    text: Option<ResponseFormatText>,
}

#[derive(Deserialize)]
struct ResponseFormatText {
    mime_type: Option<String>,
    schema: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ThinkingConfig {
    thinking_budget: Option<i64>,
    thinking_level: Option<String>,
}

/// What a model is to answer.
struct Prompt {
    model: String,
    heard: Vec<Heard>,
    inline_bytes: u64,
    text: String,
    task: Task,
}

enum Task {
    Transcribe(AudioTranscriptionConfig),
    Text,
    Json(Option<Value>),
}

/// Calls a method of a model.
pub(crate) async fn call(
    State(stand_in): State<StandIn>,
    Path(call): Path<String>,
    request: Request,
) -> Response {
    match call.split_once(':') {
        Some((model, "generateContent")) => generate_content(&stand_in, model, request).await,
        Some((model, "countTokens")) => match count_tokens(&stand_in, model, request).await {
            Ok(answer) => Json(answer).into_response(),
            Err(refusal) => refusal.into_response(),
        },
        _ => Refusal::page_not_found().into_response(),
    }
}

async fn generate_content(stand_in: &StandIn, model: &str, request: Request) -> Response {
    let call = stand_in.counts().call_begins();
    let (parts, body) = request.into_parts();
    let prompt = match prompt(stand_in, model, &parts.headers, body).await {
        Ok(prompt) => prompt,
        Err(refusal) => return refusal.into_response(),
    };
    stand_in.counts().inline(prompt.inline_bytes);
    let work = async |fault: &Fault| Ok(Json(prompt.answer(fault)).into_response());
    let response = stand_in.faults().under(On::Generate, work).await;
    if response.status() == StatusCode::OK && response.extensions().get::<Lost>().is_none() {
        stand_in
            .counts()
            .bill(prompt.audio_tokens() + prompt.text_tokens());
        if response.extensions().get::<Spoiled>().is_some() {
            stand_in.counts().spoiled();
        }
    }
    until_sent(response, call)
}

/// A call is under way until its answer is sent, which may be slow.
fn until_sent(response: Response, call: Call) -> Response {
    response.map(|body| {
        let held = body.map_frame(move |frame| {
            let _ = &call;
            frame
        });
        Body::new(held)
    })
}

async fn count_tokens(stand_in: &StandIn, model: &str, request: Request) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct CountTokens {
        contents: Option<Vec<Content>>,
        generate_content_request: Option<GenerateContent>,
    }

    let (parts, body) = request.into_parts();
    let body = wire::receive(body, wire::LARGEST_BODY).await?;
    expect_json(&parts.headers)?;
    let CountTokens {
        contents,
        generate_content_request,
    } = wire::parse(&body, wire::COUNT_TOKENS)?;
    let contents = match (contents, generate_content_request) {
        (Some(contents), None) => contents,
        (None, Some(request)) => request.contents,
        _ => {
            return Err(Refusal::invalid(
                "Either contents or generate_content_request is to be set.",
            ));
        }
    };
    let mut prompt = Prompt::of(model)?;
    prompt.hear(stand_in, &contents)?;
    let (audio, text) = (prompt.audio_tokens(), prompt.text_tokens());
    Ok(json!({ "totalTokens": audio + text, "promptTokensDetails": details(audio, text) }))
}

async fn prompt(
    stand_in: &StandIn,
    model: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Prompt, Refusal> {
    let body = wire::receive(body, wire::LARGEST_BODY).await?;
    expect_json(headers)?;
    let mut prompt = Prompt::of(model)?;
    let mut request: Value = wire::parse(&body, wire::GENERATE_CONTENT)?;
    drop(body);
    let asked = asked(model, &request);
    let request = serde_json::from_value::<GenerateContent>(request.take())
        .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?;
    prompt.hear(stand_in, &request.contents)?;
    if model == TRANSCRIBE {
        prompt.transcribes(request)?;
    } else {
        prompt.follows(request)?;
    }
    stand_in.counts().call_asks(asked);
    Ok(prompt)
}

/// What a test may want to know of a request: everything but the audio.
fn asked(model: &str, request: &Value) -> Value {
    let contents = request["contents"].as_array().into_iter().flatten();
    let parts = contents.filter_map(|content| content["parts"].as_array());
    let texts = parts.flatten().filter_map(|part| part["text"].as_str());
    json!({
        "model": model,
        "store": request["store"],
        "generation_config": request["generation_config"],
        "system_instruction": request["system_instruction"],
        "texts": texts.collect::<Vec<_>>(),
    })
}

impl Prompt {
    fn of(model: &str) -> Result<Self, Refusal> {
        if model != TRANSCRIBE && !GENERAL.contains(&model) {
            return Err(Refusal::no_model(model));
        }
        Ok(Self {
            model: model.to_owned(),
            heard: Vec::new(),
            inline_bytes: 0,
            text: String::new(),
            task: Task::Text,
        })
    }

    fn hear(&mut self, stand_in: &StandIn, contents: &[Content]) -> Result<(), Refusal> {
        let Some(last) = contents.last() else {
            return Err(Refusal::bad_field(
                "contents",
                "* GenerateContentRequest.contents: contents is not specified",
            ));
        };
        Refusal::invalid_if(
            last.role.as_deref() == Some("model"),
            "Please ensure that the last content is not of role model.",
        )?;
        Refusal::invalid_if(
            contents.len() > 1 && contents.iter().any(|content| content.role.is_none()),
            "Please use a valid role: user, model.",
        )?;
        for (index, content) in contents.iter().enumerate() {
            let path = format!("contents[{index}].parts");
            if content.parts.is_empty() {
                return Err(Refusal::bad_field(
                    &path,
                    "* GenerateContentRequest.contents: parts must not be empty",
                ));
            }
            for (index, part) in content.parts.iter().enumerate() {
                self.hear_part(stand_in, part, &format!("{path}[{index}]"))?;
            }
        }
        Ok(())
    }

    fn hear_part(
        &mut self,
        stand_in: &StandIn,
        part: &Map<String, Value>,
        path: &str,
    ) -> Result<(), Refusal> {
        let data = data_of(part, path)?;
        let text = |name: &str| data[name].as_str().filter(|text| !text.is_empty());
        if part.contains_key("text") {
            self.text.push_str(data.as_str().unwrap_or_default());
            return Ok(());
        }
        let Some(mime_type) = text("mime_type") else {
            let message = format!("Unable to determine the MIME type of {path}: set mimeType.");
            return Err(Refusal::bad_field(path, &message));
        };
        let types = if self.model == TRANSCRIBE {
            TRANSCRIBE_TYPES
        } else {
            GENERAL_TYPES
        };
        let essence = mime_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let of_audio = essence.strip_prefix("audio/");
        if !of_audio.is_some_and(|subtype| types.contains(&subtype)) {
            return Err(Refusal::invalid(format!(
                "Unsupported MIME type: {mime_type}"
            )));
        }
        let heard = if part.contains_key("inline_data") {
            let bytes = wire::decode(
                text("data").unwrap_or_default(),
                &format!("{path}.inline_data.data"),
            )?;
            if bytes.is_empty() {
                return Err(Refusal::bad_field(path, "inline_data has no data"));
            }
            self.inline_bytes += bytes.len() as u64;
            Heard::new(mime_type, &bytes)
        } else {
            stand_in
                .files()
                .heard(text("file_uri").unwrap_or_default())?
        };
        if heard.mime_type != mime_type {
            return Err(Refusal::invalid(format!(
                "The file is {}, not {mime_type}.",
                heard.mime_type
            )));
        }
        self.heard.push(heard);
        Ok(())
    }

    /// The rules of the model for speech.
    fn transcribes(&mut self, request: GenerateContent) -> Result<(), Refusal> {
        Refusal::invalid_if(
            request.system_instruction.is_some(),
            "Developer instruction is not enabled for this model.",
        )?;
        let parts = request.contents.iter().flat_map(|content| &content.parts);
        Refusal::invalid_if(
            parts.clone().any(|part| part.contains_key("text")),
            "Text input is not supported for this model.",
        )?;
        Refusal::invalid_if(
            self.heard.len() != 1,
            "Exactly one audio part is to be given.",
        )?;
        let Some(config) = request.generation_config.audio_transcription_config else {
            return Err(Refusal::invalid(
                "generation_config.audio_transcription_config is missing.",
            ));
        };
        let has_times = config.word_timestamp || config.diarization;
        let vocabulary = config.custom_vocabulary.len() + config.adaptation_phrases.len();
        Refusal::invalid_if(
            vocabulary > 0 && has_times,
            "custom_vocabulary is not supported with word_timestamp or diarization.",
        )?;
        Refusal::invalid_if(
            vocabulary > MOST_VOCABULARY,
            "custom_vocabulary has more than 1000 phrases.",
        )?;
        let is_smart = config.mode.as_deref() == Some("SMART");
        Refusal::invalid_if(
            is_smart && has_times,
            "Mode SMART is not supported with word_timestamp or diarization.",
        )?;
        Refusal::invalid_if(
            config.source_text.is_some() && !is_smart,
            "source_text needs mode SMART.",
        )?;
        if let Some(code) = config
            .language_codes
            .iter()
            .find(|code| !is_language_tag(code))
        {
            return Err(Refusal::invalid(format!(
                "Language code {code} is not a BCP-47 tag."
            )));
        }
        self.task = Task::Transcribe(config);
        Ok(())
    }

    /// The rules of a general model, which ignores `audioTranscriptionConfig` and chats instead.
    fn follows(&mut self, request: GenerateContent) -> Result<(), Refusal> {
        for (index, part) in request
            .system_instruction
            .iter()
            .flat_map(|content| &content.parts)
            .enumerate()
        {
            let path = format!("system_instruction.parts[{index}]");
            match data_of(part, &path)? {
                Value::String(text) => self.text.push_str(text),
                _ => return Err(Refusal::bad_field(&path, "A system instruction is text.")),
            }
        }
        let config = request.generation_config;
        if config.presence_penalty.is_some() || config.frequency_penalty.is_some() {
            return Err(Refusal::invalid(format!(
                "Penalty is not enabled for models/{}",
                self.model
            )));
        }
        Refusal::invalid_if(
            config.candidate_count.is_some_and(|count| count != 1),
            "Multiple candidates is not enabled for this model.",
        )?;
        Refusal::invalid_if(
            config
                .max_output_tokens
                .is_some_and(|count| !(1..=MOST_OUTPUT_TOKENS).contains(&count)),
            "max_output_tokens is from 1 to 65536.",
        )?;
        Refusal::invalid_if(
            config.thinking_config.thinking_budget.is_some()
                && config.thinking_config.thinking_level.is_some(),
            "thinking_budget and thinking_level cannot be set together.",
        )?;
        let mut schemas = Vec::new();
        let mut mime_type = config.response_mime_type;
        schemas.extend(config.response_schema);
        schemas.extend(config.response_json_schema);
        for format in config
            .response_format
            .into_iter()
            .filter_map(|format| format.text)
        {
            mime_type = mime_type.or(format.mime_type);
            schemas.extend(format.schema);
        }
        Refusal::invalid_if(schemas.len() > 1, "Only one response schema can be set.")?;
        self.task = match (mime_type.as_deref(), schemas.pop()) {
            (Some("application/json"), schema) => Task::Json(schema),
            (None | Some("text/plain"), None) => Task::Text,
            (None | Some("text/plain"), Some(_)) => {
                return Err(Refusal::invalid(
                    "A response schema needs response_mime_type application/json.",
                ));
            }
            (Some(other), _) => {
                return Err(Refusal::invalid(format!(
                    "response_mime_type {other} is not supported."
                )));
            }
        };
        Ok(())
    }

    /// 32 tokens a second, as if all audio were PCM of 16 bits at 16 kHz.
    fn audio_tokens(&self) -> u64 {
        self.heard
            .iter()
            .map(|heard| heard.length.div_ceil(1_000))
            .sum()
    }

    /// About four letters a token.
    fn text_tokens(&self) -> u64 {
        (self.text.chars().count() as u64).div_ceil(4)
    }

    /// A sentence that tells what arrived.
    fn transcript(&self) -> String {
        let heard = |heard: &Heard| {
            format!(
                "heard {} bytes, sha256 {}",
                heard.length,
                &heard.sha256[..12]
            )
        };
        if self.heard.is_empty() {
            return format!("read {} letters", self.text.chars().count());
        }
        self.heard.iter().map(heard).collect::<Vec<_>>().join("; ")
    }

    fn answer(&self, fault: &Fault) -> Value {
        let mut candidate = json!({ "index": 0, "finishReason": "STOP" });
        let transcript = fault.text.clone().unwrap_or_else(|| self.transcript());
        if fault.empty {
            candidate["content"] = json!({ "role": "model" });
        } else if fault.finish_reason.is_some() && fault.text.is_none() {
            candidate["content"] = json!({});
        } else {
            candidate["content"] =
                json!({ "role": "model", "parts": self.parts(&transcript, fault) });
        }
        if let Some(reason) = &fault.finish_reason {
            candidate["finishReason"] = json!(reason);
            candidate["finishMessage"] = json!("The stand-in was asked to end so.");
        }
        if fault.no_finish_reason
            && let Some(candidate) = candidate.as_object_mut()
        {
            candidate.remove("finishReason");
        }
        let (audio, text) = (self.audio_tokens(), self.text_tokens());
        let output = if candidate["content"]["parts"].is_null() {
            0
        } else {
            (transcript.len() as u64).div_ceil(4)
        };
        let mut answer = json!({
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": audio + text,
                "candidatesTokenCount": output,
                "totalTokenCount": audio + text + output,
                "promptTokensDetails": details(audio, text),
            },
            "modelVersion": self.model,
            "responseId": "stand-in",
        });
        if let Some(reason) = &fault.block_reason {
            answer["promptFeedback"] = json!({ "blockReason": reason });
            answer["usageMetadata"] =
                json!({ "promptTokenCount": audio + text, "totalTokenCount": audio + text });
        }
        if fault.retiring {
            answer["modelStatus"] = json!({
                "modelStage": "DEPRECATED",
                "retirementTime": "2027-01-31T00:00:00Z",
                "message": "This model will be retired.",
            });
        }
        if fault.unknown_fields {
            add_unknown(&mut answer);
        }
        let without = [
            ("candidates", fault.block_reason.is_some()),
            ("usageMetadata", fault.missing_usage),
        ];
        for (name, _) in without.iter().filter(|(_, is_without)| *is_without) {
            if let Some(answer) = answer.as_object_mut() {
                answer.remove(*name);
            }
        }
        answer
    }

    fn parts(&self, transcript: &str, fault: &Fault) -> Value {
        let schema = match &self.task {
            Task::Transcribe(config) => return turns(transcript, config, fault),
            Task::Text => {
                return json!([{ "text": transcript, "thoughtSignature": "c3RhbmQtaW4=" }]);
            }
            Task::Json(schema) => schema,
        };
        let document = match schema {
            Some(schema) => instance(schema, "", transcript),
            None => json!({ "language": "en", "text": transcript }),
        };
        let mut text = document.to_string();
        if fault.broken_json {
            text.truncate(text.floor_char_boundary(text.len() * 2 / 3));
        }
        if fault.fenced_json {
            text = format!("```json\n{text}\n```");
        }
        json!([{ "text": text, "thoughtSignature": "c3RhbmQtaW4=" }])
    }
}

/// The one field of a part that is its data.
fn data_of<'a>(part: &'a Map<String, Value>, path: &str) -> Result<&'a Value, Refusal> {
    const DATA: [&str; 8] = [
        "text",
        "inline_data",
        "file_data",
        "audio_transcription",
        "function_call",
        "function_response",
        "executable_code",
        "code_execution_result",
    ];
    let mut data = DATA
        .iter()
        .filter_map(|name| Some((name, part.get(*name)?)));
    let Some((name, value)) = data.next() else {
        let message =
            format!("* {path}.data: required oneof field 'data' must have one initialized field");
        return Err(Refusal::bad_field(path, &message));
    };
    if let Some((second, _)) = data.next() {
        let message = format!(
            "Invalid value at '{path}' (oneof), oneof field 'data' is already set. Cannot set '{second}'"
        );
        return Err(Refusal::bad_field(path, &message));
    }
    if !DATA[..3].contains(name) {
        return Err(Refusal::bad_field(
            path,
            &format!("The stand-in knows no {name} in a prompt."),
        ));
    }
    Ok(value)
}

fn details(audio: u64, text: u64) -> Value {
    let details = [("AUDIO", audio), ("TEXT", text)];
    let details = details.iter().filter(|(_, count)| *count > 0);
    details
        .map(|(modality, count)| json!({ "modality": modality, "tokenCount": count }))
        .collect()
}

/// The turns of speakers: one, or two if they are to be told apart.
fn turns(transcript: &str, config: &AudioTranscriptionConfig, fault: &Fault) -> Value {
    let words = transcript.split_whitespace().collect::<Vec<_>>();
    let first = if config.diarization {
        words.len().div_ceil(2)
    } else {
        words.len()
    };
    let turns = [(0, &words[..first]), (first, &words[first..])];
    let language = config
        .language_codes
        .first()
        .map_or("en-US", String::as_str);
    let mut parts = Vec::new();
    for (speaker, (start, words)) in turns.into_iter().enumerate() {
        if words.is_empty() {
            continue;
        }
        let mut turn = json!({ "languageCode": language });
        if config.diarization {
            turn["speakerLabel"] = json!(format!("spk_{}", speaker + 1));
        }
        if !fault.words_without_text {
            turn["text"] = if config.diarization {
                json!(words.join(" "))
            } else {
                json!(transcript)
            };
        }
        if config.word_timestamp || fault.words_without_text {
            let timed = words
                .iter()
                .enumerate()
                .map(|(index, word)| timed(word, start + index));
            turn["words"] = timed.collect();
        }
        parts.push(json!({ "audioTranscription": turn }));
    }
    Value::Array(parts)
}

/// A word takes 400 ms.
fn timed(word: &str, index: usize) -> Value {
    let mut timed = json!({ "word": word, "endOffset": duration((index + 1) * 400) });
    // Proto3 JSON leaves out what is zero.
    if index > 0 {
        timed["startOffset"] = json!(duration(index * 400));
    }
    timed
}

/// A duration as proto3 JSON has it: three digits or none.
fn duration(milliseconds: usize) -> String {
    match (milliseconds / 1_000, milliseconds % 1_000) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}.{rest:03}s"),
    }
}

/// Something that fits a schema, with the transcript wherever a field is called `text`.
fn instance(schema: &Value, name: &str, transcript: &str) -> Value {
    let kind = schema["type"]
        .as_str()
        .unwrap_or("object")
        .to_ascii_lowercase();
    match (kind.as_str(), name) {
        ("object", _) => {
            let properties = schema["properties"].as_object();
            let fields = properties.into_iter().flatten();
            let fields =
                fields.map(|(name, schema)| (name.clone(), instance(schema, name, transcript)));
            Value::Object(fields.collect())
        }
        ("array", _) => json!([instance(&schema["items"], name, transcript)]),
        ("string", _) if schema["enum"][0].is_string() => schema["enum"][0].clone(),
        ("string", "text") => json!(transcript),
        ("string", "language") => json!("en"),
        ("string", "start") => json!("0:00"),
        ("string", "end") => json!("0:01"),
        ("string", _) => json!(""),
        ("number" | "integer", _) => json!(0),
        ("boolean", _) => json!(false),
        _ => Value::Null,
    }
}

fn add_unknown(answer: &mut Value) {
    answer["novelty"] = json!({ "kind": "UNHEARD_OF", "values": [1, null, "two"] });
    answer["usageMetadata"]["serviceTier"] = json!("UNHEARD_OF");
    answer["usageMetadata"]["promptTokensDetails"] =
        json!([{ "modality": "SMELL", "tokenCount": 7 }]);
    let candidate = &mut answer["candidates"][0];
    candidate["novelty"] = json!("UNHEARD_OF");
    candidate["safetyRatings"] =
        json!([{ "category": "HARM_CATEGORY_NEW", "probability": "UNHEARD_OF" }]);
    if let Some(parts) = candidate["content"]["parts"].as_array_mut() {
        for part in &mut *parts {
            part["novelty"] = json!(["UNHEARD_OF"]);
        }
        parts.insert(0, json!({ "text": "a thought", "thought": true }));
        parts.push(json!({ "novelData": { "value": 1 } }));
    }
}

fn is_language_tag(code: &str) -> bool {
    let mut subtags = code.split('-');
    let language = subtags.next().unwrap_or_default();
    let is_short = |subtag: &str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(is_short)
}
