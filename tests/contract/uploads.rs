//! What is kept of an upload: everything once it is accepted, nothing before.

use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transcription_tests::client::{Answer, FILE_HEAD, form_head};
use transcription_tests::files::sha256_of;
use transcription_tests::process::eventually;
use transcription_tests::python::python;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::seaweedfs::{ACCESS_KEY, BUCKET, SECRET_KEY};
use transcription_tests::speech::librivox;
use transcription_tests::transcription::{Transcription, silent_wav, token, wav_header};

const MIB: usize = 1024 * 1024;

pub async fn assert_nothing_left(stack: &Transcription) {
    eventually("no place is taken", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(stack.s3.keys().await, [""; 0]);
}

#[tokio::test]
async fn two_users_and_one_user_twice_with_one_file_name_never_meet() {
    let stack = Transcription::start().await;
    let (first, second, third) = tokio::join!(
        stack.transcribe("1", "a.wav", silent_wav(3000)),
        stack.transcribe("1", "a.wav", silent_wav(4000)),
        stack.transcribe("2", "a.wav", silent_wav(5000)),
    );

    let keys = stack.s3.keys().await;
    assert_eq!(keys.len(), 9, "{keys:?}");
    for (answer, user, size) in [
        (&first, "1", 3000),
        (&second, "1", 4000),
        (&third, "2", 5000),
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let key = answer.json["audio_key"].as_str().unwrap();
        assert!(key.starts_with(&format!("private/{user}/audio/")), "{key}");
        assert_eq!(stack.s3.object(key).await.0, silent_wav(size));
    }

    // Each asks for its own; another's is as unknown as none.
    let id = third.json["id"].as_str().unwrap();
    let own = stack.ask("2", id).await;
    assert_eq!(own.status, 200, "{own:?}");
    let mut expected = third.json.clone();
    expected["state"] = json!("complete");
    assert_eq!(own.json, expected);
    stack
        .ask("1", id)
        .await
        .assert_problem(404, "transcription_not_found");
    for id in [
        "01a207e6-e74c-7ea0-9e77-5df4e7b73e9a",
        "nothing",
        "..%2F..%2F2%2Fmanifests%2Fx",
        "%FF",
        "%00",
    ] {
        stack
            .ask("2", id)
            .await
            .assert_problem(404, "transcription_not_found");
    }
}

#[tokio::test]
async fn a_subject_that_could_leave_its_folder_is_401() {
    let stack = Transcription::start().await;
    for subject in ["../2", "", "%2f", "1/2", "a\0b", "x".repeat(65).as_str()] {
        let answer = stack.transcribe(subject, "a.wav", silent_wav(2000)).await;
        answer.assert_problem(401, "token_invalid");
    }
    assert_nothing_left(&stack).await;
}

#[tokio::test]
async fn a_file_name_is_kept_as_text_and_never_becomes_a_key() {
    let stack = Transcription::start().await;
    let long = "n".repeat(4096);
    for (name, kept) in [
        ("../../etc/passwd", "../../etc/passwd"),
        ("say \"hi\".wav", "say \"hi\".wav"),
        ("📼 réunion.mp3", "📼 réunion.mp3"),
        (&long, &long[..255]),
    ] {
        let answer = stack.transcribe("1", name, silent_wav(2000)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.json["id"].as_str().unwrap();
        assert_eq!(
            answer.json["audio_key"],
            format!("private/1/audio/{id}.wav")
        );
        let manifest = stack.manifest("1", &answer.json["id"]).await;
        assert_eq!(manifest["filename"], kept);
    }
    // A line end in a name is a broken head of a part.
    let stored = stack.s3.keys().await.len();
    let answer = stack
        .transcribe("1", "a\r\nX-Evil: 1.wav", silent_wav(2000))
        .await;
    answer.assert_problem(400, "broken_form");
    assert_eq!(stack.s3.keys().await.len(), stored);
}

/// The head of a request to transcribe, with a body of this length.
fn head(stack: &Transcription, length: usize) -> String {
    form_head(&stack.url, &token("1"), length)
}

/// Sends a head and bytes, and nothing more.
async fn sent(stack: &Transcription, head: &str, body: &[u8]) -> TcpStream {
    let address = stack.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    connection
}

/// Sends bytes and nothing more, and gives what is answered.
async fn raw(stack: &Transcription, length: usize, body: &[u8]) -> String {
    answer_to(stack, &head(stack, length), body).await
}

async fn answer_to(stack: &Transcription, head: &str, body: &[u8]) -> String {
    let mut connection = sent(stack, head, body).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn gone(stack: &Transcription) -> i64 {
    let name = r#"transcription_requests_total{engine="gemini",outcome="client_gone"}"#;
    stack.count(name).await
}

fn form(file: &[u8], end: &str) -> Vec<u8> {
    [FILE_HEAD, file, end.as_bytes()].concat()
}

#[tokio::test]
async fn a_form_that_breaks_off_leaves_nothing_and_a_whole_one_everything() {
    let stack = Transcription::start().await;
    let whole = form(&silent_wav(9 * MIB), "\r\n--frontier--\r\n");
    let length = whole.len();

    // Hang-ups on the way.
    for (percent, number) in [(10, 1), (90, 2)] {
        let part = &whole[..length * percent / 100];
        let connection = sent(&stack, &head(&stack, length), part).await;
        eventually("it has a place", async || {
            stack.count("transcription_in_flight").await == 1
        })
        .await;
        drop(connection);
        eventually("it is counted", async || gone(&stack).await == number).await;
        assert_nothing_left(&stack).await;
    }
    // A form without its last boundary, and one that is shorter than it says.
    let no_boundary = form(&silent_wav(9 * MIB), "");
    let answer = raw(&stack, no_boundary.len(), &no_boundary).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("broken_form"),
        "{answer}"
    );
    assert_nothing_left(&stack).await;
    let answer = raw(&stack, length - 5, &whole[..length - 5]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_nothing_left(&stack).await;

    assert_eq!(stack.google.counts().await["generate_content_calls"], 0);
}

#[tokio::test]
async fn who_hangs_up_after_the_last_byte_is_heard_to_the_end_and_keeps_the_place_until_then() {
    let stack = Transcription::start_with([("MAX_CONCURRENT_PER_USER", "1")]).await;
    stack.google.hold(1).await;
    let whole = form(&silent_wav(9 * MIB), "\r\n--frontier--\r\n");
    let connection = sent(&stack, &head(&stack, whole.len()), &whole).await;
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;

    drop(connection);

    let next = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    next.assert_problem(429, "user_busy");
    stack.google.release().await;
    eventually("the text is there", async || {
        stack.s3.keys().await.len() == 3
    })
    .await;
    eventually("the place is free", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
    assert_eq!(gone(&stack).await, 0, "it was accepted before");
    eventually("its place is free", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    let next = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(next.status, 200, "{next:?}");
}

#[tokio::test]
async fn what_fails_after_the_caller_has_gone_is_in_the_log() {
    let stack = Transcription::start().await;
    let fault = json!({"status": 418, "body": "an odd refusal", "held": true});
    stack.google.fail_to_generate(1, fault).await;
    let whole = form(&silent_wav(3000), "\r\n--frontier--\r\n");
    let connection = sent(&stack, &head(&stack, whole.len()), &whole).await;
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;

    drop(connection);

    eventually("no request but this one is there", async || {
        stack.count("http_server_active_requests").await == 1
    })
    .await;
    stack.google.release().await;
    eventually("it is logged", async || {
        stack.process.log().contains("the engine failed")
    })
    .await;
    let log = stack.process.log();
    let line = log.lines().find(|line| line.contains("the engine failed"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    let line = line.to_string();
    let keys = stack.s3.keys().await;
    let id = keys[0].rsplit(['/', '.']).nth(1).unwrap();
    assert!(line.contains(id) && line.contains("request_id"), "{line}");
    // Who is there is told, and that is logged once too.
    let fault = json!({"status": 418, "body": "an odd refusal"});
    stack.google.fail_to_generate(1, fault).await;
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    answer.assert_problem(502, "engine_failed");
    let log = stack.process.log();
    assert_eq!(log.matches("the engine failed").count(), 2, "{log}");
}

#[tokio::test]
async fn who_sends_nothing_for_30_seconds_is_told_so_and_leaves_nothing() {
    let stack = Transcription::start().await;
    let whole = form(&silent_wav(9 * MIB), "\r\n--frontier--\r\n");

    let answer = raw(&stack, whole.len(), &whole[..whole.len() / 2]).await;

    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("slow_upload"),
        "{answer}"
    );
    assert_nothing_left(&stack).await;
}

#[tokio::test]
async fn a_client_that_pauses_hears_that_a_part_failed_and_not_that_it_is_slow() {
    let stack = Transcription::start().await;
    stack
        .proxy
        .fail(Method::PUT, "partNumber=", Fault::SlowDown);
    let whole = form(&silent_wav(12 * MIB), "\r\n--frontier--\r\n");
    let part = &whole[..9 * MIB];

    let mut connection = sent(&stack, &head(&stack, whole.len()), part).await;
    // After 30 s it would be let go with another answer.
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();

    assert_eq!(answer, *b"HTTP/1.1 503");
    stack.proxy.heal();
    drop(connection);
    assert_nothing_left(&stack).await;
}

#[tokio::test]
async fn lengths_that_are_wrong_leave_nothing_and_the_limit_itself_is_taken() {
    let stack = Transcription::start_with([("MAX_UPLOAD_BYTES", "3000")]).await;
    let whole = form(&silent_wav(3000), "\r\n--frontier--\r\n");
    // Fewer bytes than there are, and neither a length nor chunks: no form either way.
    let short = raw(&stack, whole.len() - 1000, &whole).await;
    assert!(short.starts_with("HTTP/1.1 400"), "{short}");
    let none = head(&stack, 0).replace("Content-Length: 0\r\n", "");
    let answer = answer_to(&stack, &none, &whole).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_nothing_left(&stack).await;

    let over = stack.transcribe("1", "a.wav", silent_wav(3001)).await;
    let detail = over.assert_problem(413, "too_large");
    assert!(detail.contains("3000"), "{detail}");
    assert_nothing_left(&stack).await;
    let exactly = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(exactly.status, 200, "{exactly:?}");
}

#[tokio::test]
async fn fields_may_follow_the_file_and_a_wrong_one_leaves_nothing() {
    let stack = Transcription::start().await;
    let file = || Part::bytes(silent_wav(9 * MIB)).file_name("a.wav");

    let answer = stack
        .send(
            "1",
            Form::new()
                .part("file", file())
                .text("language", "not a tag"),
        )
        .await;
    answer.assert_problem(422, "invalid_field");
    assert_nothing_left(&stack).await;
    let answer = stack
        .send("1", Form::new().part("file", file()).part("file", file()))
        .await;
    answer.assert_problem(400, "two_files");
    assert_nothing_left(&stack).await;
    let answer = stack
        .send(
            "1",
            Form::new()
                .part("file", file())
                .text("language", "de-AT")
                .part("unknown", Part::bytes(&b"\xff\xfe"[..])),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Without a length, in chunks.
    let chunks = silent_wav(9 * MIB)
        .chunks(100_000)
        .map(<[u8]>::to_vec)
        .map(Ok::<_, std::io::Error>)
        .collect::<Vec<_>>();
    let part = Part::stream(Body::wrap_stream(stream::iter(chunks))).file_name("a.wav");
    let answer = stack.send("1", Form::new().part("file", part)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let key = answer.json["audio_key"].as_str().unwrap();
    assert_eq!(stack.s3.object(key).await.0.len(), 9 * MIB);
}

#[tokio::test]
async fn who_sends_everything_before_reading_still_reads_the_refusal() {
    let stack = Transcription::start().await;
    // Python's http.client and others do not look at the answer until they have sent all. No socket's buffer holds this.
    let twice = form(&silent_wav(40 * MIB), "\r\n");
    let body = [&twice[..], &twice, b"--frontier--\r\n"].concat();
    let answer = raw(&stack, body.len(), &body).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("two_files"), "{answer}");
    assert_nothing_left(&stack).await;
}

/// Sends 200 MiB of silence: 96 kHz, two channels, which are nine minutes, so that the engine takes them, by a file.
async fn send_200_mib(stack: &Transcription) -> Answer {
    const SIZE: usize = 200 * MIB;
    let mut head = wav_header(SIZE);
    head[22..36].copy_from_slice(b"\x02\0\x00\x77\x01\0\x00\xdc\x05\0\x04\0\x10\0");
    let chunks = (head.len()..SIZE)
        .step_by(MIB)
        .map(|at| vec![0; MIB.min(SIZE - at)]);
    let body = Body::wrap_stream(stream::iter(
        std::iter::once(head.clone())
            .chain(chunks)
            .map(Ok::<_, std::io::Error>),
    ));
    let part = Part::stream_with_length(body, SIZE as u64).file_name("long.wav");
    let answer = stack.send("1", Form::new().part("file", part)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.json["transcription"].as_str().unwrap();
    assert!(text.starts_with(&format!("heard {SIZE} bytes")), "{text}");
    let manifest = stack.manifest("1", &answer.json["id"]).await;
    assert_eq!(manifest["audio"]["size_bytes"], SIZE);
    answer
}

#[tokio::test]
async fn an_upload_of_200_mib_takes_no_memory_to_speak_of() {
    // The limit is not what decides: S3's largest object may be taken.
    let stack = Transcription::start_with([("MAX_UPLOAD_BYTES", "5497558138880")]).await;
    let fresh = stack.resident_kib();
    stack.forget_peak();

    send_200_mib(&stack).await;

    let of_fresh = stack.peak_kib() - fresh;
    let parts = stack.proxy.requests().into_iter();
    let parts = parts.filter(|request| request.line.contains("partNumber="));
    let sizes = parts.map(|request| {
        request.headers["content-length"]
            .to_str()
            .unwrap()
            .to_owned()
    });
    let sizes = sizes.collect::<Vec<_>>();
    assert_eq!(sizes, vec![(5 * MIB).to_string(); 40], "parts of 5 MiB");

    // What the first one sets up stays, whatever its size.
    let before = stack.resident_kib();
    stack.forget_peak();
    send_200_mib(&stack).await;
    let more = stack.peak_kib().saturating_sub(before);
    println!(
        "a fresh process of {fresh} KiB grows by {of_fresh} KiB, and then from {before} KiB by {more} KiB"
    );
    assert!(more <= 16 * 1024, "{before} KiB, and {more} KiB more");
    assert!(
        of_fresh <= 24 * 1024,
        "{fresh} KiB, and {of_fresh} KiB more"
    );
}

#[tokio::test]
async fn of_64_clients_8_have_a_place_and_the_others_hear_so_at_once() {
    let stack = Transcription::start_with([
        ("MAX_CONCURRENT_TRANSCRIPTIONS", "8"),
        ("MAX_CONCURRENT_PER_USER", "8"),
    ])
    .await;
    stack.google.hold(8).await;
    let calls = (0..64).map(|client| stack.call(&client.to_string(), silent_wav(3000)));
    let calls = calls.collect::<Vec<_>>();
    let busy = r#"transcription_requests_total{engine="gemini",outcome="busy"}"#;
    eventually("the others have heard so, and 8 are served", async || {
        stack.count(busy).await == 56 && stack.google.counts().await["generate_content_calls"] == 8
    })
    .await;
    stack.google.release().await;

    let mut served = 0;
    for call in calls {
        let answer = call.await.unwrap();
        if answer.status == StatusCode::OK {
            served += 1;
        } else {
            answer.assert_problem(503, "busy");
            assert_eq!(answer.header("retry-after"), "5");
        }
    }

    assert_eq!(served, 8);
    assert_eq!(stack.google.counts().await["concurrent_maximum"], 8);
    assert_eq!(stack.count("transcription_capacity").await, 8);
    assert_eq!(stack.count(busy).await, 56);
}

#[tokio::test]
async fn what_belongs_to_no_field_is_not_collected() {
    let stack = Transcription::start().await;
    let before = stack.resident_kib();
    stack.forget_peak();
    let preamble = vec![b'x'; 40 * MIB];
    let mut endless_head = b"--frontier\r\nContent-Disposition: form-data; name=\"".to_vec();
    endless_head.resize(40 * MIB, b'n');

    for body in [preamble, endless_head] {
        let request = stack
            .http
            .post(format!("{}/transcribe", stack.url))
            .bearer_auth(token("1"))
            .header("content-type", "multipart/form-data; boundary=frontier")
            .body(body);
        // The answer may be lost, since it comes before the end of the body.
        if let Ok(answer) = request.send().await {
            Answer::of(answer).await.assert_problem(400, "broken_form");
        }
    }

    assert_nothing_left(&stack).await;
    let more = stack.peak_kib() - before;
    assert!(more < 16 * 1024, "{more} KiB more");
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_is_finished_or_stays_stored() {
    for (grace, complete) in [("30", true), ("1", false)] {
        let mut stack = Transcription::start_with([("SHUTDOWN_GRACE_SECONDS", grace)]).await;
        stack.google.hold(1).await;
        let call = stack.call("1", silent_wav(3000));
        eventually("it is accepted", async || stack.s3.keys().await.len() == 2).await;

        stack.process.signal("TERM");
        if complete {
            eventually("it has stopped to listen", async || {
                stack.http.get(&stack.url).send().await.is_err()
            })
            .await;
            stack.google.release().await;
        }
        let status = stack.process.ended().await;

        assert!(status.success(), "{status}");
        let answered = call.await;
        assert_eq!(answered.is_ok_and(|answer| answer.status == 200), complete);
        let keys = stack.s3.keys().await;
        let manifest = keys.iter().find(|key| key.contains("/manifests/")).unwrap();
        let (manifest, _) = stack.s3.object(manifest).await;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(
            manifest["state"],
            if complete { "complete" } else { "stored" }
        );
        let has_text = keys.iter().any(|key| key.contains("/transcripts/"));
        assert_eq!(has_text, complete);
    }
}

#[tokio::test]
async fn what_the_end_cuts_off_leaves_nothing_at_google_and_no_open_upload() {
    let mut stack = Transcription::start_with([("SHUTDOWN_GRACE_SECONDS", "1")]).await;
    stack.google.hold(1).await;
    let of_google = stack.call("1", silent_wav(17 * MIB));
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;
    let whole = form(&silent_wav(20 * MIB), "");
    // Sent for the most part, and then nothing more.
    let upload = sent(&stack, &head(&stack, whole.len() + 1000), &whole).await;
    eventually("an upload is open", async || {
        stack.s3.open_uploads().await == 1
    })
    .await;

    let status = stack.process.terminate().await;

    assert!(status.success(), "{status}");
    // The connection may end with the process.
    let answered = of_google.await;
    assert!(
        answered
            .as_ref()
            .map_or(true, |answer| answer.status == 503),
        "{answered:?}"
    );
    drop(upload);
    assert_eq!(stack.google.counts().await["files_existing"], 0);
    assert_eq!(stack.s3.open_uploads().await, 0);
}

#[tokio::test]
async fn boto3_reads_back_bytes_type_and_manifest() {
    let stack = Transcription::start().await;
    let wav = librivox().swap_remove(0).wav;
    let answer = stack.transcribe("1", "a.wav", wav.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json["duration_seconds"], 7.1);

    let read = python(
        "import boto3, hashlib, json, sys\nfrom botocore.config import Config\n\
         s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3], config=Config(s3={'addressing_style': 'path'}))\n\
         get = lambda key: s3.get_object(Bucket=sys.argv[4], Key=key)\n\
         audio = get(sys.argv[5]); body = audio['Body'].read()\n\
         manifest = json.loads(get(sys.argv[6])['Body'].read())\n\
         print(json.dumps([len(body), hashlib.sha256(body).hexdigest(), audio['ContentType'], manifest['audio'], manifest['state']]))",
        &[
            &stack.s3.endpoint,
            ACCESS_KEY,
            SECRET_KEY,
            BUCKET,
            answer.json["audio_key"].as_str().unwrap(),
            &format!("private/1/manifests/{}.json", answer.json["id"].as_str().unwrap()),
        ],
    )
    .await;

    let read: serde_json::Value = serde_json::from_str(&read).unwrap();
    let hash = sha256_of(&wav);
    assert_eq!(read[0], wav.len());
    assert_eq!(read[1], hash);
    assert_eq!(read[2], "audio/wav");
    assert_eq!(read[3]["sha256"], hash);
    assert_eq!(read[3]["size_bytes"], wav.len());
    assert_eq!(read[4], "complete");
}
