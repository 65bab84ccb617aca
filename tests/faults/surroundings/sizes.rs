//! Uploads of no bytes, of far too many, and of another length than they say: at once, and nothing is left of them.

use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use transcription_tests::client::{FILE_HEAD, form_head};
use transcription_tests::process::eventually;
use transcription_tests::transcription::{Transcription, silent_wav, token, wav_header};

use super::wire::address;

const MIB: usize = 1024 * 1024;
const LIMIT_BYTES: usize = 20 * MIB;
const FIVE_GIB: usize = 5 * 1024 * MIB;

/// How the length of a body is told.
#[derive(Clone, Copy)]
enum Told {
    Length,
    Chunks,
}

/// Sends a recording of 5 GiB until it is refused; what was answered, and how much was sent until then.
async fn send_five_gib(url: String, user: String, told: Told) -> (String, usize) {
    let head = form_head(&url, &token(&user), FIVE_GIB);
    let head = match told {
        Told::Length => head,
        Told::Chunks => head.replace(
            &format!("Content-Length: {FIVE_GIB}"),
            "Transfer-Encoding: chunked",
        ),
    };
    let stream = TcpStream::connect(address(&url)).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        let piece = vec![0; 256 * 1024];
        let mut wav = wav_header(1 << 31);
        wav.extend_from_slice(&piece);
        let mut sent = 0;
        let _ = writer.write_all(head.as_bytes()).await;
        for bytes in [FILE_HEAD, &wav]
            .into_iter()
            .chain(std::iter::repeat(&piece[..]))
        {
            let written = match told {
                Told::Length => writer.write_all(bytes).await,
                Told::Chunks => {
                    let size = format!("{:x}\r\n", bytes.len());
                    let chunk = [size.as_bytes(), bytes, b"\r\n"].concat();
                    writer.write_all(&chunk).await
                }
            };
            if written.is_err() || sent + bytes.len() > FIVE_GIB {
                break;
            }
            sent += bytes.len();
        }
        sent
    });
    let mut said = Vec::new();
    let _ = timeout(Duration::from_mins(1), reader.read_to_end(&mut said))
        .await
        .unwrap();
    let sent = sending.await.unwrap();
    (String::from_utf8_lossy(&said).into_owned(), sent)
}

/// Sends a part of what was said to come, and hangs up.
async fn break_off(url: &str, user: &str, size: usize) {
    let mut stream = TcpStream::connect(address(url)).await.unwrap();
    let body = [FILE_HEAD, &silent_wav(size), b"\r\n--frontier--\r\n"].concat();
    let head = form_head(url, &token(user), body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..body.len() - 5]).await.unwrap();
}

#[tokio::test]
async fn no_bytes_five_gib_and_wrong_lengths_at_once_are_told_and_leave_nothing() {
    let limit = LIMIT_BYTES.to_string();
    let stack = Transcription::start_with([("MAX_UPLOAD_BYTES", &limit)]).await;
    let before = stack.resident_kib();
    stack.forget_peak();
    let start = Instant::now();

    let five_gib = (0..4).map(|number| {
        let told = if number < 2 {
            Told::Length
        } else {
            Told::Chunks
        };
        let user = format!("large-{number}");
        tokio::spawn(send_five_gib(stack.url.clone(), user, told))
    });
    let five_gib = five_gib.collect::<Vec<_>>();
    let empty = (0..4).map(async |number| {
        let form = Form::new().part("file", Part::bytes(&b""[..]).file_name("a.wav"));
        stack.send(&format!("empty-{number}"), form).await
    });
    let broken = (0..4).map(async |number| {
        let size = if number < 2 { 3000 } else { 12 * MIB };
        break_off(&stack.url, &format!("broken-{number}"), size).await;
    });
    let (empty, _) = tokio::join!(
        futures_util::future::join_all(empty),
        futures_util::future::join_all(broken),
    );
    for answer in empty {
        answer.assert_problem(400, "empty_file");
    }
    for answer in five_gib {
        let (said, sent) = answer.await.unwrap();
        assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
        assert!(
            said.contains("too_large") && said.contains(&limit),
            "{said}"
        );
        assert!(sent < LIMIT_BYTES + 16 * MIB, "{sent} bytes were sent");
    }
    println!("all were told within {:?}", start.elapsed());

    eventually("no place is taken", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(stack.s3.keys().await, [""; 0]);
    assert_eq!(stack.google.counts().await["generate_content_calls"], 0);
    let grown = stack.peak_kib().saturating_sub(before);
    println!("{grown} KiB more at the most");
    assert!(grown < 160 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn what_follows_the_length_is_no_part_of_the_recording() {
    let stack = Transcription::start().await;
    let wav = silent_wav(3000);
    let body = [FILE_HEAD, &wav, b"\r\n--frontier--\r\n"].concat();
    let head = form_head(&stack.url, &token("1"), body.len());
    let mut stream = TcpStream::connect(address(&stack.url)).await.unwrap();

    let all = [head.as_bytes(), &body, &vec![b'x'; 100_000]].concat();
    let _ = stream.write_all(&all).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;

    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    let keys = stack.s3.keys().await;
    assert_eq!(keys.len(), 3, "{keys:?}");
    let audio = keys.iter().find(|key| key.contains("/audio/")).unwrap();
    assert!(stack.s3.object(audio).await.0 == wav);
}
