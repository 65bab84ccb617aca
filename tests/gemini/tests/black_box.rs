//! The started program, as its clients see it.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test that fails must fail at once; a literal is easier to read than a reference to it"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const KEY: &str = "a-key-for-tests";
const SPEECH: &str = "/v1beta/models/gemini-3.5-transcribe:generateContent";
const GENERAL: &str = "/v1/models/gemini-3.6-flash:generateContent";

/// The program, killed when this is dropped.
struct StandIn {
    child: Child,
    address: String,
}

/// An answer as it came, up to the end of the connection.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
    /// In how many pieces the body came; 0 if its length was announced.
    pieces: usize,
    is_whole: bool,
}

impl StandIn {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gemini-stand-in"))
            .args(["--listen", "127.0.0.1:0", "--key", KEY])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        let address = address.to_owned();
        Self { child, address }
    }

    /// Sends a request as it is given, and reads to the end. An empty answer has the status 0.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1);
        let mut answer = Answer {
            status: status.map_or(0, |status| status.parse().unwrap()),
            head: head.to_owned(),
            body: body.to_owned(),
            pieces: 0,
            is_whole: true,
        };
        if head.contains("transfer-encoding: chunked") {
            answer.join_chunks();
        }
        answer
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [
            ("x-goog-api-key", KEY),
            ("content-type", "application/json"),
        ];
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    fn fault(&self, on: &str, fault: Value) {
        let answer = self.post("/_stand-in/faults", &json!([{ "on": on, "fault": fault }]));
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    fn counts(&self) -> Value {
        self.send("GET", "/_stand-in/counts", &[], b"").json()
    }

    /// Starts an upload and gives the path of its URL.
    fn start_upload(&self, length: usize) -> String {
        let headers = [
            ("x-goog-api-key", KEY),
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-length", &length.to_string()),
            ("x-goog-upload-header-content-type", "audio/wav"),
        ];
        let answer = self.send("POST", "/upload/v1beta/files", &headers, b"");
        let url = answer.head.split("x-goog-upload-url: ").nth(1).unwrap();
        let url = url.split("\r\n").next().unwrap();
        url.strip_prefix(&format!("http://{}", self.address))
            .unwrap()
            .to_owned()
    }

    fn chunk(&self, path: &str, command: &str, offset: usize, body: &[u8]) -> Answer {
        let offset = offset.to_string();
        let headers = [
            ("x-goog-upload-command", command),
            ("x-goog-upload-offset", &offset),
        ];
        self.send("POST", path, &headers, body)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn join_chunks(&mut self) {
        let chunked = std::mem::take(&mut self.body);
        let mut rest = chunked.as_str();
        self.is_whole = false;
        while let Some((length, after)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                self.is_whole = true;
                return;
            }
            self.body.push_str(&after[..length]);
            self.pieces += 1;
            rest = &after[length + 2..];
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn audio() -> Value {
    json!({ "inlineData": { "mimeType": "audio/wav", "data": "UklGRg==" } })
}

fn speech() -> Value {
    json!({
        "contents": [{ "role": "user", "parts": [audio()] }],
        "generationConfig": { "audioTranscriptionConfig": {} },
    })
}

fn by_prompt() -> Value {
    json!({
        "contents": [{ "role": "user", "parts": [audio(), { "text": "Transcribe." }] }],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseSchema": {
                "type": "OBJECT",
                "properties": { "language": { "type": "STRING" }, "text": { "type": "STRING" } },
            },
        },
    })
}

/// A body with one value in it changed.
fn with(mut body: Value, pointer: &str, name: &str, value: Value) -> Value {
    body.pointer_mut(pointer).unwrap()[name] = value;
    body
}

#[expect(clippy::disallowed_methods, reason = "the lab's own setting")]
fn cached(name: &str) -> PathBuf {
    let cache = std::env::var_os("LAB_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/transcription-lab"),
        PathBuf::from,
    );
    let path = cache.join(name);
    assert!(
        path.exists(),
        "{} is not there: fetch it by `tests/lab/fetch.sh google-genai`",
        path.display()
    );
    path
}

#[test]
fn googles_own_client_uploads_transcribes_and_deletes() {
    let stand_in = StandIn::start();

    let output = Command::new("python3")
        // Cargo runs the tests of a package in its folder.
        .arg("tests/google_client.py")
        .args([&format!("http://{}", stand_in.address), KEY])
        .env("PYTHONPATH", cached("google-genai-3.4.0"))
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();

    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let mut counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let asked = counts.as_object_mut().unwrap().remove("last_call");
    assert_eq!(asked.unwrap()["texts"], json!(["Transcribe."]));
    let expected = json!({
        "generate_content_calls": 6,
        "billed_calls": 2,
        "spoiled_answers": 0,
        "billed_input_tokens": 9_001 + 11 + 9,
        "files_uploaded": 1,
        "files_deleted": 1,
        "files_existing": 0,
        "inline_bytes": 2 * 10_244,
        "requests_with_trace_headers": 0,
        "concurrent_maximum": 1,
    });
    assert_eq!(counts, expected);
}

#[test]
fn it_ends_when_it_is_asked_to() {
    let mut stand_in = StandIn::start();
    let pid = stand_in.child.id().to_string();

    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );

    assert!(stand_in.child.wait().unwrap().success());
}

#[test]
fn the_key_belongs_in_its_header_and_nowhere_else() {
    let stand_in = StandIn::start();
    let json = ("content-type", "application/json");
    let body = speech().to_string();
    let key = ("x-goog-api-key", KEY);

    let without = stand_in.send("POST", SPEECH, &[json], body.as_bytes());
    let in_address = stand_in.send(
        "POST",
        &format!("{SPEECH}?key={KEY}"),
        &[json, key],
        body.as_bytes(),
    );
    let chunk = stand_in.start_upload(4);
    let on_chunk = stand_in.send(
        "POST",
        &chunk,
        &[key, ("x-goog-upload-command", "query")],
        b"",
    );

    assert_eq!(
        (without.status, &without.json()["error"]["status"]),
        (403, &json!("PERMISSION_DENIED"))
    );
    assert_eq!((in_address.status, on_chunk.status), (400, 400));
    for path in [
        format!("{SPEECH}?upload_id=1"),
        "/v1beta/files?upload_id=1".to_owned(),
    ] {
        let by_upload = stand_in.send("POST", &path, &[json, key], body.as_bytes());
        assert_eq!(
            by_upload.status, 400,
            "an upload is elsewhere: {by_upload:?}"
        );
    }
    assert!(!stand_in.counts().to_string().contains(KEY));
}

#[test]
fn a_key_is_good_until_others_are() {
    let stand_in = StandIn::start();
    let status = |key: &str| {
        let headers = [
            ("x-goog-api-key", key),
            ("content-type", "application/json"),
        ];
        let body = speech().to_string();
        stand_in
            .send("POST", SPEECH, &headers, body.as_bytes())
            .status
    };
    let make_good = |keys: Value| {
        let headers = [("content-type", "application/json")];
        let body = keys.to_string();
        stand_in.send("PUT", "/_stand-in/keys", &headers, body.as_bytes())
    };

    assert_eq!((status(KEY), status("another")), (200, 400));
    assert_eq!(make_good(json!([KEY, "another"])).status, 204);
    assert_eq!((status(KEY), status("another")), (200, 200));
    assert_eq!(make_good(json!(["another"])).status, 204);
    assert_eq!((status(KEY), status("another")), (400, 200));
}

#[test]
fn headers_of_a_trace_are_refused_and_counted() {
    let stand_in = StandIn::start();

    for name in ["traceparent", "tracestate", "Baggage"] {
        let headers = [("x-goog-api-key", KEY), (name, "a=b")];
        assert_eq!(
            stand_in.send("GET", "/v1beta/files", &headers, b"").status,
            400
        );
    }

    assert_eq!(stand_in.counts()["requests_with_trace_headers"], 3);
}

#[test]
fn the_speech_model_refuses_what_is_not_its_task() {
    let stand_in = StandIn::start();
    let config = "/generationConfig/audioTranscriptionConfig";
    let parts = |parts: Value| with(speech(), "/contents/0", "parts", parts);
    let words = with(speech(), config, "customVocabulary", json!(["Marianne"]));
    let wrong = [
        with(
            speech(),
            "",
            "systemInstruction",
            json!({ "parts": [{ "text": "a" }] }),
        ),
        with(speech(), "", "unknown", json!(1)),
        with(speech(), "", "contents", json!([])),
        with(speech(), "/contents/0", "role", json!("model")),
        with(
            speech(),
            "/generationConfig",
            "audioTranscriptionConfig",
            Value::Null,
        ),
        with(words.clone(), config, "wordTimestamp", json!(true)),
        with(words, config, "diarization", json!(true)),
        with(
            with(speech(), config, "mode", json!("SMART")),
            config,
            "diarization",
            json!(true),
        ),
        with(speech(), config, "languageCodes", json!(["english please"])),
        parts(json!([])),
        parts(json!([{}])),
        parts(json!([audio(), audio()])),
        parts(json!([audio(), { "text": "Transcribe." }])),
        parts(json!([with(audio(), "", "text", json!("a"))])),
        parts(json!([{ "inlineData": { "data": "UklGRg==" } }])),
        parts(json!([{ "inlineData": { "mimeType": "audio/wav", "data": "UklGR" } }])),
        parts(json!([{ "inlineData": { "mimeType": "video/mp4", "data": "UklGRg==" } }])),
    ];

    for body in wrong {
        let answer = stand_in.post(SPEECH, &body);
        assert_eq!(answer.status, 400, "{body} {answer:?}");
        assert_eq!(answer.json()["error"]["status"], "INVALID_ARGUMENT");
    }
    let foreign = parts(
        json!([{ "fileData": { "mimeType": "audio/wav", "fileUri": "https://a.test/v1beta/files/b" } }]),
    );
    assert_eq!(stand_in.post(SPEECH, &foreign).status, 403);
    assert_eq!(
        stand_in
            .post(&SPEECH.replace("3.5", "2.5"), &speech())
            .status,
        404
    );
    assert_eq!(stand_in.post(SPEECH, &speech()).status, 200);
    assert_eq!(stand_in.counts()["billed_calls"], 1);
}

#[test]
fn a_general_model_refuses_what_google_refuses() {
    let stand_in = StandIn::start();
    let config = |name: &str, value: Value| with(by_prompt(), "/generationConfig", name, value);
    let wrong = [
        config("frequencyPenalty", json!(0.5)),
        config("candidateCount", json!(2)),
        config("maxOutputTokens", json!(65_537)),
        config("responseMimeType", json!("text/plain")),
        config("responseJsonSchema", json!({ "type": "object" })),
        config(
            "thinkingConfig",
            json!({ "thinkingLevel": "LOW", "thinkingBudget": 1 }),
        ),
        with(
            by_prompt(),
            "/contents/0/parts/0/inlineData",
            "mimeType",
            json!("audio/mpeg"),
        ),
    ];

    for body in wrong {
        let answer = stand_in.post(GENERAL, &body);
        assert_eq!(answer.status, 400, "{body} {answer:?}");
    }
    let answer = stand_in.post(GENERAL, &with(by_prompt(), "", "store", json!(false)));
    assert_eq!(answer.status, 200);
    let asked = &stand_in.counts()["last_call"];
    assert_eq!(asked["model"], "gemini-3.6-flash");
    assert_eq!(asked["store"], false);
    assert_eq!(asked["texts"], json!(["Transcribe."]));
    assert!(!asked.to_string().contains("UklGRg"), "{asked}");
    let ignored = config("audioTranscriptionConfig", json!({ "wordTimestamp": true }));
    let answer = stand_in.post(GENERAL, &ignored).json();
    assert!(answer["candidates"][0]["content"]["parts"][0]["text"].is_string());
}

#[test]
fn a_body_over_the_limit_is_refused_and_not_broken_off() {
    let stand_in = StandIn::start();
    let headers = [
        ("x-goog-api-key", KEY),
        ("content-type", "application/json"),
    ];

    let answer = stand_in.send("POST", SPEECH, &headers, &vec![b' '; 100_000_001]);

    assert_eq!(answer.status, 413);
}

#[test]
fn an_upload_takes_chunks_only_where_and_as_large_as_they_belong() {
    const CHUNK: usize = 262_144;
    let stand_in = StandIn::start();
    let path = stand_in.start_upload(CHUNK + 10);
    let chunk = vec![7; CHUNK];

    let mut stream = TcpStream::connect(&stand_in.address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\nx-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: 0\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("Content-Length"),
        "{answer}"
    );
    assert_eq!(stand_in.chunk(&path, "upload", 0, b"odd").status, 400);
    assert_eq!(stand_in.chunk(&path, "upload", 9, &chunk).status, 400);
    assert_eq!(
        stand_in.chunk(&path, "upload, finalize", 0, &chunk).status,
        400
    );
    stand_in.fault("upload_chunk", json!({ "cut_before_answer": true }));
    assert_eq!(stand_in.chunk(&path, "upload", 0, &chunk).status, 0);
    stand_in.fault("upload_chunk", json!({ "unavailable": true }));
    let large = vec![7; 32 * CHUNK];
    assert_eq!(stand_in.chunk(&path, "upload", CHUNK, &large).status, 503);
    let query = stand_in.chunk(&path, "query", 0, b"");
    assert!(
        query.head.contains("x-goog-upload-size-received: 262144"),
        "{query:?}"
    );
    assert_eq!(
        stand_in
            .chunk(&path, "upload, finalize", CHUNK, b"too many bytes")
            .status,
        400
    );
    let last = stand_in.chunk(&path, "upload, finalize", CHUNK, b"ten bytes!");

    assert!(
        last.head.contains("x-goog-upload-status: final"),
        "{last:?}"
    );
    assert_eq!(last.json()["file"]["sizeBytes"], "262154");
    assert_eq!(
        stand_in
            .chunk(&path, "upload, finalize", CHUNK, b"ten bytes!")
            .status,
        400
    );
    assert_eq!(stand_in.counts()["files_existing"], 1);
}

#[test]
fn a_failed_file_cannot_be_used() {
    let stand_in = StandIn::start();
    stand_in.fault(
        "upload_start",
        json!({ "file_failed": true, "processing_polls": 1 }),
    );
    let path = stand_in.start_upload(4);

    let file = stand_in.chunk(&path, "upload, finalize", 0, b"RIFF").json()["file"].clone();
    let name = format!("/v1beta/{}", file["name"].as_str().unwrap());
    let poll = || {
        stand_in
            .send("GET", &name, &[("x-goog-api-key", KEY)], b"")
            .json()
    };

    assert_eq!(file["state"], "PROCESSING");
    assert_eq!(poll()["state"], "PROCESSING");
    assert_eq!(poll()["state"], "FAILED");
    let part = json!([{ "fileData": { "mimeType": "audio/wav", "fileUri": file["uri"] } }]);
    let answer = stand_in.post(SPEECH, &with(speech(), "/contents/0", "parts", part));
    assert_eq!(answer.json()["error"]["status"], "FAILED_PRECONDITION");
}

#[test]
fn errors_come_once_and_in_order() {
    let stand_in = StandIn::start();
    let errors = [
        (
            json!({ "status": 418, "body": "{\"a\":1}", "headers": { "retry-after": "7" } }),
            418,
            "{\"a\":1}",
        ),
        (
            json!({ "rate_per_minute": { "retry_seconds": 2 } }),
            429,
            "PerMinute",
        ),
        (json!({ "quota_per_day": true }), 429, "PerDay"),
        (json!({ "bad_key": true }), 400, "API_KEY_INVALID"),
        (json!({ "too_long": true }), 400, "exceeds the maximum"),
        (json!({ "region": true }), 400, "FAILED_PRECONDITION"),
        (json!({ "internal": true }), 500, "INTERNAL"),
        (json!({ "html_502": true }), 502, "<html"),
        (json!({ "unavailable": true }), 503, "UNAVAILABLE"),
        (json!({ "array_error": true }), 503, "[{"),
    ];
    for (fault, ..) in &errors {
        stand_in.fault("generate", fault.clone());
    }

    for (fault, status, excerpt) in &errors {
        let answer = stand_in.post(SPEECH, &speech());
        assert_eq!(answer.status, *status, "{fault}");
        assert!(answer.body.contains(excerpt), "{answer:?}");
    }
    assert_eq!(stand_in.post(SPEECH, &speech()).status, 200);
    assert_eq!(stand_in.counts()["billed_calls"], 1);
}

#[test]
fn a_fault_waits_for_its_kind_of_request_and_can_come_again() {
    let stand_in = StandIn::start();
    let entry = json!([{ "on": "file_delete", "times": 2, "fault": { "unavailable": true } }]);
    stand_in.post("/_stand-in/faults", &entry);
    let delete = || {
        stand_in
            .send("DELETE", "/v1beta/files/a", &[("x-goog-api-key", KEY)], b"")
            .status
    };

    assert_eq!(stand_in.post(SPEECH, &speech()).status, 200);
    assert_eq!([delete(), delete(), delete()], [503, 503, 403]);
    assert_eq!(
        stand_in.send("GET", "/_stand-in/faults", &[], b"").json(),
        json!([])
    );
    let unknown = json!([{ "on": "generate", "fault": { "unavialable": true } }]);
    assert_eq!(stand_in.post("/_stand-in/faults", &unknown).status, 422);
}

#[test]
fn a_connection_can_be_cut_before_and_within_an_answer() {
    let stand_in = StandIn::start();
    stand_in.fault("generate", json!({ "cut_before_answer": true }));
    stand_in.fault("generate", json!({ "cut_body": true }));

    let before = stand_in.post(SPEECH, &speech());
    let counts = stand_in.counts();
    let within = stand_in.post(SPEECH, &speech());

    assert_eq!((before.status, before.head.as_str()), (0, ""));
    assert_eq!(counts["billed_calls"], 0);
    assert_eq!(counts["requests"][0]["status"], Value::Null);
    assert_eq!(within.status, 200);
    assert!(within.body.starts_with("{\"candidates\"") && !within.is_whole);
    assert_eq!(stand_in.counts()["billed_calls"], 1);
}

#[test]
fn slow_answers_are_counted_as_calls_at_the_same_time() {
    let stand_in = StandIn::start();
    stand_in.fault("generate", json!({ "delay_milliseconds": 500 }));
    stand_in.fault("generate", json!({ "drip": { "pause_milliseconds": 1 } }));
    let start = Instant::now();

    let answers = thread::scope(|scope| {
        let calls = [0, 1].map(|_| scope.spawn(|| stand_in.post(SPEECH, &speech())));
        calls.map(|call| call.join().unwrap())
    });

    assert!(answers.iter().all(|answer| answer.status == 200));
    let drips = answers
        .iter()
        .filter(|answer| answer.pieces > 50 && answer.is_whole);
    assert_eq!(drips.count(), 1);
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(stand_in.counts()["concurrent_maximum"], 2);
    stand_in.send("DELETE", "/_stand-in/counts", &[], b"");
    assert_eq!(stand_in.counts()["generate_content_calls"], 0);
}

#[test]
fn answers_can_be_strange() {
    let stand_in = StandIn::start();
    let ask = |path: &str, body: Value, fault: Value| {
        stand_in.fault("generate", fault);
        stand_in.post(path, &body).json()
    };
    let spoken = "/candidates/0/content/parts/0/audioTranscription";
    let written = "/candidates/0/content/parts/0/text";

    let blocked = ask(SPEECH, speech(), json!({ "block_reason": "SAFETY" }));
    assert_eq!(blocked["promptFeedback"]["blockReason"], "SAFETY");
    assert_eq!(blocked.get("candidates"), None);
    let ended = ask(SPEECH, speech(), json!({ "finish_reason": "RECITATION" }));
    assert_eq!(ended["candidates"][0]["finishReason"], "RECITATION");
    assert_eq!(ended["candidates"][0]["content"], json!({}));
    let partly = ask(
        SPEECH,
        speech(),
        json!({ "finish_reason": "MAX_TOKENS", "text": "so far" }),
    );
    assert_eq!(partly.pointer(spoken).unwrap()["text"], "so far");
    let open = ask(
        SPEECH,
        speech(),
        json!({ "no_finish_reason": true, "missing_usage": true, "retiring": true }),
    );
    assert_eq!(
        (
            open["candidates"][0].get("finishReason"),
            open.get("usageMetadata")
        ),
        (None, None)
    );
    assert!(open["modelStatus"]["retirementTime"].is_string());
    let words = ask(
        SPEECH,
        speech(),
        json!({ "words_without_text": true, "text": "one two" }),
    );
    let words = words.pointer(spoken).unwrap();
    assert_eq!(words.get("text"), None);
    assert_eq!(
        words["words"][1],
        json!({ "word": "two", "startOffset": "0.400s", "endOffset": "0.800s" })
    );
    let empty = ask(SPEECH, speech(), json!({ "empty": true }));
    assert_eq!(
        empty["candidates"][0]["content"],
        json!({ "role": "model" })
    );
    let fenced = ask(
        GENERAL,
        by_prompt(),
        json!({ "fenced_json": true, "text": "hi" }),
    );
    let fence = "```json\n{\"language\":\"en\",\"text\":\"hi\"}\n```";
    assert_eq!(fenced.pointer(written).unwrap(), fence);
    let broken = ask(GENERAL, by_prompt(), json!({ "broken_json": true }));
    let broken = broken.pointer(written).unwrap().as_str().unwrap();
    assert!(serde_json::from_str::<Value>(broken).is_err());
    let unknown = ask(SPEECH, speech(), json!({ "unknown_fields": true }));
    assert_eq!(unknown["candidates"][0]["finishReason"], "STOP");
    assert_eq!(unknown["novelty"]["kind"], "UNHEARD_OF");
}
