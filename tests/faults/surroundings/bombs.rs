//! Heads, forms and JSON that are made to take time and memory: each is told in time what is wrong with it, and takes little.

use std::time::{Duration, Instant};

use transcription_tests::auth::Auth;
use transcription_tests::client::PASSWORD;
use transcription_tests::process::{eventually, forget_peak, memory_kib};
use transcription_tests::transcription::{Transcription, silent_wav, token};

use super::wire::{Prober, processor_time, said_to, status_of};

const MIB: usize = 1024 * 1024;
const HEAD: &str = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";

/// Does something, and gives the processor time that it took, and the memory in KiB at its most.
async fn cost<T>(process: u32, work: impl Future<Output = T>) -> (T, Duration, u64) {
    let processor = processor_time(process);
    let resident = memory_kib(process, "VmRSS:");
    forget_peak(process);
    let done = work.await;
    let took = processor_time(process).saturating_sub(processor);
    let grown = memory_kib(process, "VmHWM:").saturating_sub(resident);
    (done, took, grown)
}

/// Heads with their names.
fn heads() -> Vec<(&'static str, String)> {
    let many = (0..10_000).map(|number| format!("x-{number}: 1\r\n"));
    let same = "x: 1\r\n".repeat(100_000);
    vec![
        (
            "10 000 headers",
            format!("GET / {HEAD}{}\r\n", many.collect::<Vec<_>>().concat()),
        ),
        (
            "one header 100 000 times",
            format!("GET / {HEAD}{same}\r\n"),
        ),
        (
            "a header of 10 MiB",
            format!("GET / {HEAD}x: {}\r\n\r\n", "a".repeat(10 * MIB)),
        ),
        (
            "a name of 10 MiB",
            format!("GET / {HEAD}{}: 1\r\n\r\n", "a".repeat(10 * MIB)),
        ),
        (
            "an address of 10 MiB",
            format!("GET /{} {HEAD}\r\n", "a".repeat(10 * MIB)),
        ),
        (
            "a method of 10 MiB",
            format!("{} / {HEAD}\r\n", "A".repeat(10 * MIB)),
        ),
        (
            "a token of 10 MiB",
            format!(
                "GET /me {HEAD}Authorization: Bearer {}\r\n\r\n",
                "a".repeat(10 * MIB)
            ),
        ),
        ("10 MiB of empty lines", "\r\n".repeat(5 * MIB)),
        (
            "a boundary of 1 MiB",
            format!(
                "POST /transcribe {HEAD}Content-Type: multipart/form-data; boundary={}\r\n\r\n",
                "a".repeat(MIB)
            ),
        ),
    ]
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_and_take_little() {
    let auth = Auth::start().await;
    let stack = Transcription::start().await;
    for (url, process) in [
        (&auth.url, auth.process.id()),
        (&stack.url, stack.process.id()),
    ] {
        let prober = Prober::start(url, "/");
        for (name, head) in heads() {
            let bytes = head.into_bytes();
            let (status, took, grown) = cost(process, status_of(url, bytes)).await;
            println!("{name}: {status:?}, {took:?} of the processor, {grown} KiB");
            // A client that is still sending may find the connection closed.
            assert!(
                matches!(status, None | Some(400 | 414 | 431)),
                "{name}: {status:?}"
            );
            assert!(took < Duration::from_millis(500), "{name}: {took:?}");
            assert!(grown < 4 * 1024, "{name}: {grown} KiB");
        }
        // As large as they may be, a hundred at once.
        let large = format!("GET / {HEAD}x: {}\r\n\r\n", "a".repeat(50_000));
        let at_once = (0..100).map(|_| status_of(url, large.clone().into_bytes()));
        let at_once = futures_util::future::join_all(at_once);
        let (answered, took, grown) = cost(process, at_once).await;
        println!("100 heads of 50 kB: {took:?} of the processor, {grown} KiB");
        assert!(
            answered.iter().all(|status| *status == Some(200)),
            "{answered:?}"
        );
        assert!(grown < 32 * 1024, "{grown} KiB");
        let (_, _, longest) = prober.end().await;
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    }
}

/// A body for a form with the boundary `frontier`, with the status it has to get.
struct FormBomb {
    name: &'static str,
    body: Vec<u8>,
    status: u16,
    says: &'static str,
}

fn form_bombs() -> Vec<FormBomb> {
    let bomb = |name, body: Vec<u8>, status, says| FormBomb {
        name,
        body,
        status,
        says,
    };
    let part = "--frontier\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n";
    let disposition =
        "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n";
    let headers = (0..100_000).map(|number| format!("X-{number}: 1\r\n"));
    let headers = headers.collect::<Vec<_>>().concat();
    let nested = (0..20_000).map(|depth| {
        format!(
            "--b{depth}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n",
            depth + 1
        )
    });
    let nested = nested.collect::<Vec<_>>().concat();
    let deep = format!(
        "{disposition}Content-Type: multipart/mixed; boundary=b0\r\n\r\n{nested}\r\n--frontier--\r\n"
    );
    let end = "\r\n--frontier--\r\n";
    vec![
        bomb("100 000 parts", format!("{}{end}", part.repeat(100_000)).into(), 400, "32 fields"),
        bomb("100 000 headers of a part", format!("{disposition}{headers}\r\n1{end}").into(), 400, "broken_form"),
        bomb("a header of a part of 20 MiB", format!("{disposition}X: {}\r\n\r\n1{end}", "a".repeat(20 * MIB)).into(), 400, "broken_form"),
        bomb("a file name of 500 kB", format!("--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\r\n1{end}", "a".repeat(500_000)).into(), 415, "not_audio"),
        bomb("20 000 forms in one another", deep.into(), 415, "not_audio"),
        bomb("20 MiB of line ends", "\r\n".repeat(10 * MIB).into(), 400, "broken_form"),
        bomb("20 MiB of boundaries in one line", "--frontier".repeat(2 * MIB).into(), 400, "no_file"),
        bomb("a field of 20 MiB", format!("--frontier\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n{}{end}", "a".repeat(20 * MIB)).into(), 422, "invalid_field"),
    ]
}

fn form_request(boundary: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /transcribe {HEAD}Authorization: Bearer {}\r\nContent-Length: {}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n\r\n",
        token("1"),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn forms_that_are_made_to_take_time_or_memory_are_refused_and_leave_nothing() {
    let stack = Transcription::start().await;
    let process = stack.process.id();
    for FormBomb {
        name,
        body,
        status,
        says,
    } in form_bombs()
    {
        let request = form_request("frontier", &body);
        let start = Instant::now();
        let (said, took, grown) = cost(process, said_to(&stack.url, request)).await;
        let waited = start.elapsed();
        println!("{name}: {waited:?}, {took:?} of the processor, {grown} KiB, {said:.12}");
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {said}"
        );
        assert!(said.contains(says), "{name}: {said}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        assert!(grown < 16 * 1024, "{name}: {grown} KiB");
    }
    eventually("no place is taken", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.keys().await, [""; 0]);
    assert_eq!(stack.s3.open_uploads().await, 0);
}

#[tokio::test]
async fn a_recording_full_of_almost_boundaries_takes_hardly_longer_than_one_of_silence() {
    const SIZE: usize = 24 * MIB;
    let stack = Transcription::start().await;
    let process = stack.process.id();
    let long = "-".repeat(69) + "x";
    let fill = |unit: String| {
        let mut wav = silent_wav(SIZE);
        let unit = unit.into_bytes();
        for piece in wav[44..].chunks_mut(unit.len()) {
            let length = piece.len();
            piece.copy_from_slice(&unit[..length]);
        }
        wav
    };
    let mut first = None;
    for (name, boundary, wav) in [
        ("silence", "frontier", silent_wav(SIZE)),
        (
            "all but the last letter",
            "frontier",
            fill("\r\n--frontie".to_owned()),
        ),
        ("line ends", "frontier", fill("\r\n".to_owned())),
        ("hyphens", &*long, fill(format!("\r\n--{}", "-".repeat(69)))),
        ("hyphens alone", &*long, fill("-".to_owned())),
    ] {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"
        );
        let end = format!("\r\n--{boundary}--\r\n");
        let body = [head.as_bytes(), &wav, end.as_bytes()].concat();
        let request = form_request(boundary, &body);
        let (said, took, grown) = cost(process, said_to(&stack.url, request)).await;
        println!("{name}: {took:?} of the processor, {grown} KiB");
        assert!(said.starts_with("HTTP/1.1 200 "), "{name}: {said}");
        let first = *first.get_or_insert(took);
        assert!(
            took < first * 3 + Duration::from_millis(200),
            "{name}: {took:?}, and silence {first:?}"
        );
        assert!(grown < 48 * 1024, "{name}: {grown} KiB");
    }
}

/// JSON with the status that it has to get at `/register`.
fn json_bombs() -> Vec<(&'static str, String, u16)> {
    let nested = |open: &str, middle: &str, close: &str, depth: usize| {
        format!(
            "{{\"username\": {}{middle}{}}}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let user = |name: &str, value: &str| {
        format!(
            "{{\"{name}\": {value}, \"email\": \"ada@example.com\", \"password\": \"{PASSWORD}\"}}"
        )
    };
    let escapes = format!("\"{}\"", "\\u0041".repeat(10_000));
    let names = (0..4000)
        .map(|number| format!("\"{number}\": 1,"))
        .collect::<Vec<_>>()
        .concat();
    vec![
        ("1 MiB of brackets", "[".repeat(MIB), 413),
        ("64 kB of brackets", "[".repeat(64_000), 422),
        ("lists in lists", nested("[", "", "]", 30_000), 422),
        (
            "objects in objects",
            nested("{\"a\":", "1", "}", 10_000),
            422,
        ),
        (
            "a number of 60 000 digits",
            user("username", &"9".repeat(60_000)),
            422,
        ),
        (
            "a fraction of 60 000 digits",
            user("username", &format!("0.{}", "9".repeat(60_000))),
            422,
        ),
        (
            "a number beyond all numbers",
            user("username", "1e999999999"),
            422,
        ),
        ("a name of 10 000 escapes", user("username", &escapes), 422),
        (
            "a name of 10 000 halves of a letter",
            user("username", &format!("\"{}\"", "\\ud800".repeat(10_000))),
            422,
        ),
        ("4 000 unknown fields", format!("{{{names}\"x\": 1}}"), 422),
        (
            "a field 4 000 times",
            format!("{{{}\"username\": 1}}", "\"username\": \"a\",".repeat(3000)),
            422,
        ),
        (
            "60 kB of white space",
            format!("{{{}", " ".repeat(60_000)),
            422,
        ),
        ("60 kB of zeros", "\0".repeat(60_000), 422),
    ]
}

#[tokio::test]
async fn json_that_is_made_to_take_time_or_memory_is_refused_and_takes_little() {
    let auth = Auth::start().await;
    let process = auth.process.id();
    for (name, body, status) in json_bombs() {
        let request = format!(
            "POST /register {HEAD}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let many = (0..20).map(|_| status_of(&auth.url, request.clone().into_bytes()));
        let many = futures_util::future::join_all(many);
        let (answered, took, grown) = cost(process, many).await;
        println!("{name}, 20 times: {took:?} of the processor, {grown} KiB");
        assert!(
            answered.iter().all(|found| *found == Some(status)),
            "{name}: {answered:?}"
        );
        assert!(took < Duration::from_millis(500), "{name}: {took:?}");
        assert!(grown < 24 * 1024, "{name}: {grown} KiB");
    }
    // Of a field that comes twice the last one counts.
    let twice = format!(
        "{{\"username\": \"eve\", \"username\": \"ada\", \"email\": \"ada@example.com\", \"password\": \"{PASSWORD}\"}}"
    );
    let request = auth.http.post(format!("{}/register", auth.url));
    let request = request
        .header("content-type", "application/json")
        .body(twice);
    assert_eq!(request.send().await.unwrap().status(), 201);
    auth.token("ada").await;
}
