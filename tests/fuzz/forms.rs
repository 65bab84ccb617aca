//! Forms of `POST /transcribe` over the wire: whatever comes, it is answered and no fault of ours; and what is not a whole form with one
//! recording leaves nothing in the bucket.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use transcription_tests::arbitrary::{RawAnswer, answer_to, try_for_a_while};
use transcription_tests::process::eventually;
use transcription_tests::seaweedfs::BUCKET;
use transcription_tests::transcription::{Transcription, silent_wav, token};

use super::change::{Change, changed, changes};
use super::time;

/// A field of a form.
#[derive(Clone, Debug)]
struct Field {
    disposition: String,
    further: String,
    content: Content,
    line_end: &'static str,
}

#[derive(Clone, Debug)]
enum Content {
    Wav(usize),
    Bytes(Vec<u8>),
}

/// How a form is sent.
#[derive(Clone, Debug)]
enum Sending {
    /// With its length.
    Length,
    /// In chunks of this many bytes.
    Chunks(usize),
    /// With its length, of which only this share of 256 is sent.
    Share(u8),
    /// In chunks, without the last one.
    WithoutEnd(usize),
}

#[derive(Clone, Debug)]
struct Form {
    fields: Vec<Field>,
    preamble: &'static str,
    is_ended: bool,
    epilogue: Vec<u8>,
    content_type: String,
    changes: Vec<Change>,
    sending: Sending,
}

impl Form {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.preamble.as_bytes().to_vec();
        for field in &self.fields {
            let Field {
                disposition,
                further,
                content,
                line_end,
            } = field;
            let head = format!(
                "--frontier{line_end}content-disposition: {disposition}{line_end}{further}{line_end}"
            );
            bytes.extend_from_slice(head.as_bytes());
            match content {
                Content::Wav(size_bytes) => bytes.extend(silent_wav(*size_bytes)),
                Content::Bytes(content) => bytes.extend(content),
            }
            bytes.extend_from_slice(line_end.as_bytes());
        }
        if self.is_ended {
            bytes.extend_from_slice(b"--frontier--\r\n");
        }
        bytes.extend_from_slice(&self.epilogue);
        changed(bytes, &self.changes)
    }

    /// What goes over the wire, and whether the client then hangs up.
    fn request(&self, user: &str) -> (Vec<u8>, bool) {
        let body = self.bytes();
        let head = format!(
            "POST /transcribe HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: {}\r\n",
            token(user),
            self.content_type
        );
        let (length, body, hangs_up) = match self.sending {
            Sending::Length => (format!("content-length: {}", body.len()), body, false),
            Sending::Share(share) => {
                let length = format!("content-length: {}", body.len() + 1);
                let sent = body.len() * usize::from(share) / 256;
                (length, body[..sent].to_vec(), true)
            }
            Sending::Chunks(size) => (CHUNKED.to_owned(), chunks(&body, size, b"0\r\n\r\n"), false),
            Sending::WithoutEnd(size) => (CHUNKED.to_owned(), chunks(&body, size, b""), true),
        };
        let mut request = format!("{head}{length}\r\n\r\n").into_bytes();
        request.extend(body);
        (request, hangs_up)
    }

    /// Whether the client has sent all that it said.
    fn is_sent_whole(&self) -> bool {
        matches!(self.sending, Sending::Length | Sending::Chunks(_))
    }
}

const CHUNKED: &str = "transfer-encoding: chunked";

fn chunks(body: &[u8], size: usize, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(size) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(end);
    all
}

fn forms() -> impl Strategy<Value = Form> {
    let content_types = prop_oneof![
        12 => Just("multipart/form-data; boundary=frontier".to_owned()),
        1 => Just("multipart/form-data; boundary=\"frontier\"".to_owned()),
        1 => Just("Multipart/Form-Data;BOUNDARY=frontier; charset=x".to_owned()),
        1 => Just("multipart/form-data".to_owned()),
        1 => Just("multipart/form-data; boundary=".to_owned()),
        1 => "[ -~]{0,60}",
        1 => "multipart/form-data; boundary=[!-~]{0,80}",
    ];
    let sendings = prop_oneof![
        6 => Just(Sending::Length),
        2 => (1..5000_usize).prop_map(Sending::Chunks),
        1 => any::<u8>().prop_map(Sending::Share),
        1 => (1..5000_usize).prop_map(Sending::WithoutEnd),
    ];
    let changes = prop_oneof![3 => Just(Vec::new()), 2 => changes()];
    let epilogues = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let preambles = prop::sample::select(vec!["", "", "", "", "\r\n", "a word before\r\n"]);
    (
        prop::collection::vec(field(), 0..4),
        preambles,
        prop::bool::weighted(0.9),
        epilogues,
        content_types,
        changes,
        sendings,
    )
        .prop_map(
            |(fields, preamble, is_ended, epilogue, content_type, changes, sending)| Form {
                fields,
                preamble,
                is_ended,
                epilogue,
                content_type,
                changes,
                sending,
            },
        )
}

fn field() -> impl Strategy<Value = Field> {
    let names = prop_oneof![
        3 => Just("file".to_owned()),
        1 => Just("language".to_owned()),
        2 => Just("prompt".to_owned()),
        2 => "[ !#-~]{0,20}",
    ];
    let file_names = prop_oneof![
        3 => Just("; filename=\"a.wav\"".to_owned()),
        1 => Just(String::new()),
        1 => Just("; filename=\"../../2/audio/x\"; filename*=UTF-8''%2e%2e%2fx%00%0d%0a".to_owned()),
        1 => Just("; filename=\"a\\\"b\\r\\n\u{202e}\u{0}\"".to_owned()),
        1 => "; filename=\"[^\"\r\n]{0,40}\"",
        1 => "[ -~]{0,40}",
    ];
    let dispositions = (names, file_names)
        .prop_map(|(name, file_name)| format!("form-data; name=\"{name}\"{file_name}"));
    let dispositions = prop_oneof![9 => dispositions, 1 => "[ -~]{0,60}"];
    let further = prop_oneof![
        5 => Just(String::new()),
        2 => Just("content-type: audio/wav\r\n".to_owned()),
        1 => Just("content-type: text/plain; charset=utf-16\r\ncontent-transfer-encoding: base64\r\n".to_owned()),
        1 => Just("content-length: 99999999999999999999\r\n".to_owned()),
        1 => "([A-Za-z-]{1,20}: [ -~]{0,60}\r\n){0,40}",
    ];
    let contents = prop_oneof![
        6 => (44..4000_usize).prop_map(|size| Content::Wav(size & !1)),
        1 => Just(Content::Wav(200_044)),
        1 => Just(Content::Bytes(Vec::new())),
        2 => Just(Content::Bytes(b"en".to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Content::Bytes),
        1 => Just(Content::Bytes(b"x\r\n--frontier".to_vec())),
        1 => Just(Content::Bytes(b"--frontier--".to_vec())),
        1 => any::<u16>().prop_map(|size| Content::Bytes(vec![b'a'; size.into()])),
    ];
    let line_ends = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]);
    (dispositions, further, contents, line_ends).prop_map(
        |(disposition, further, content, line_end)| Field {
            disposition,
            further,
            content,
            line_end,
        },
    )
}

/// The keys of a user's objects.
async fn keys(stack: &Transcription, user: &str) -> Vec<String> {
    let listed = stack.s3.client.list_objects_v2().bucket(BUCKET);
    let listed = listed.prefix(format!("private/{user}/")).send().await;
    let objects = listed.unwrap().contents.unwrap_or_default();
    objects
        .into_iter()
        .map(|object| object.key.unwrap())
        .collect()
}

fn check(form: &Form, answer: Option<&RawAnswer>, keys: &[String]) -> Result<(), TestCaseError> {
    let Some(answer) = answer else {
        // Who hangs up may not be answered.
        prop_assert!(!form.is_sent_whole(), "no answer");
        prop_assert!(keys.is_empty(), "{keys:?}");
        return Ok(());
    };
    let taken = [200, 400, 401, 413, 415, 422];
    prop_assert!(taken.contains(&answer.status), "{answer:?}");
    let body = serde_json::from_str::<Value>(answer.body()).unwrap_or_default();
    if answer.status == 200 {
        prop_assert!(form.is_ended_by_boundary(), "{answer:?}");
        for name in ["audio_key", "transcript_key"] {
            let key = body[name].as_str().unwrap_or_default();
            prop_assert!(keys.iter().any(|found| found == key), "{name}: {answer:?}");
        }
        prop_assert_eq!(keys.len(), 3);
        let file_name = body["filename"].as_str().unwrap_or("\n");
        prop_assert!(!file_name.chars().any(char::is_control), "{answer:?}");
    } else {
        prop_assert!(keys.is_empty(), "{keys:?}: {answer:?}");
        prop_assert!(body["code"].is_string(), "{answer:?}");
    }
    Ok(())
}

impl Form {
    /// Whether the end of a form is in what is sent of it. The end of the request may still be missing.
    fn is_ended_by_boundary(&self) -> bool {
        let end = b"--frontier--";
        let mut bytes = self.bytes();
        if let Sending::Share(share) = self.sending {
            bytes.truncate(bytes.len() * usize::from(share) / 256);
        }
        bytes.windows(end.len()).any(|bytes| bytes == end)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_causes_a_500_or_a_hang_and_none_that_is_not_whole_leaves_anything() {
    let stack = Transcription::start_with([("RUST_LOG", "warn")]).await;
    let address = stack.url.trim_start_matches("http://").to_owned();
    let numbers = std::cell::Cell::new(0);
    let accepted = std::cell::Cell::new(0);
    let before = stack.resident_kib();

    let tried = block_in_place(|| {
        try_for_a_while(time(), &forms(), |form| {
            numbers.set(numbers.get() + 1);
            let user = format!("u{}", numbers.get());
            let (request, hangs_up) = form.request(&user);
            let answer = answer_to(&address, &request, hangs_up);
            accepted.set(
                accepted.get()
                    + u32::from(answer.as_ref().is_some_and(|answer| answer.status == 200)),
            );
            let keys = Handle::current().block_on(keys(&stack, &user));
            check(&form, answer.as_ref(), &keys)
        })
    });

    eventually("nothing is in flight", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    let log = stack.process.log();
    let fault = log
        .lines()
        .find(|line| line.contains("panicked") || line.contains("\"level\":\"ERROR\""));
    assert!(fault.is_none(), "{fault:?}");
    let (accepted, now) = (accepted.get(), stack.resident_kib());
    println!(
        "{tried} forms were tried, {accepted} were taken; memory: {before} KiB, then {now} KiB"
    );
    assert!(now < before + 64 * 1024, "{before} KiB, then {now} KiB");
    assert!(accepted > 0, "none was taken");
}
