//! Requests that two programs on the way could read in two ways: what is answered, that nothing within them is taken for a request of its
//! own, and that nothing of them becomes a header or a line of the log.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use transcription_tests::auth::Auth;
use transcription_tests::transcription::Transcription;

use self::cases::{Case, NEXT, case, get, of_both};
use crate::observing::lines;

mod cases;
mod heads;

/// For the first answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Behind an answer: another one would have come by then.
const SILENCE: Duration = Duration::from_millis(700);

/// The heads of the answers, and whether the connection was closed behind them.
fn exchange(address: &str, sent: &[u8]) -> (Vec<String>, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // Whoever has heard enough hangs up.
    let _ = stream.write_all(sent);
    let mut said = Vec::new();
    let mut closes = false;
    let start = Instant::now();
    while !closes && start.elapsed() < PATIENCE {
        let wait = if said.is_empty() { PATIENCE } else { SILENCE };
        stream.set_read_timeout(Some(wait)).unwrap();
        let mut piece = [0; 8 * 1024];
        match stream.read(&mut piece) {
            Ok(0) => closes = true,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => closes = true,
            // It says nothing more.
            Err(_) => break,
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let answers = said.split("HTTP/1.").skip(1);
    let heads = answers.map(|answer| answer.split("\r\n\r\n").next().unwrap().to_owned());
    (heads.collect(), closes)
}

/// What is wrong with what is answered in a case.
fn wrong(address: &str, case: &Case) -> Option<String> {
    let Case {
        what,
        sent,
        answers,
        closes,
    } = case;
    let (heads, closed) = exchange(address, sent);
    // Behind the version.
    let statuses = heads.iter().map(|head| head[2..5].parse().unwrap());
    let statuses = statuses.collect::<Vec<u16>>();
    let shows = heads.iter().any(|head| head.contains("smuggled"));
    let is_right = statuses == *answers && closed == *closes && !shows;
    (!is_right).then(|| format!("{what}: {statuses:?}, closed: {closed}, heads: {heads:?}"))
}

/// Sends all of them, many at a time, and looks at the log then.
async fn assert_none_is_smuggled(url: &str, cases: Vec<Case>, log: impl Fn() -> String) {
    let address = url.trim_start_matches("http://").to_owned();
    let tries = cases.into_iter().map(|case| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || wrong(&address, &case))
    });
    let mut faults = Vec::new();
    for tried in tries.collect::<Vec<_>>() {
        faults.extend(tried.await.unwrap());
    }
    assert!(faults.is_empty(), "{faults:#?}");
    for line in lines(&log()) {
        let of_other = line["request_id"] == "smuggled" || line["http.route"] == "/smuggled";
        assert!(!of_other, "{line}");
    }
}

#[tokio::test]
async fn nothing_within_a_request_to_the_auth_service_is_taken_for_another() {
    let auth = Auth::start().await;
    // Read up to a limit, and refused then.
    let large = format!("{}{}", "x".repeat(70_000), NEXT.repeat(20));
    let mut cases = of_both();
    let login = |head: &str, body: &str| {
        format!(
            "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}\r\n{body}"
        )
    };
    cases.extend([
        case(
            "a body that is too large",
            login(&format!("content-length: {}\r\n", large.len()), &large),
            &[413],
            false,
        ),
        case(
            "the beginning of a body that is much too large",
            login("content-length: 10000000\r\n", &large.repeat(20)),
            &[413],
            true,
        ),
        case(
            "something else that is expected",
            get("expect: smuggled\r\n"),
            &[200],
            false,
        ),
        case(
            "a body that is too large, in chunks",
            login(
                "transfer-encoding: chunked\r\n",
                &format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
            ),
            &[413],
            false,
        ),
        case(
            "chunks that are none",
            login(
                "transfer-encoding: chunked\r\n",
                &format!("2\r\n{{}}\r\nsmuggled\r\n{NEXT}"),
            ),
            &[400],
            true,
        ),
        case(
            "a body that is waited for, and read",
            login("expect: 100-continue\r\ncontent-length: 2\r\n", "{}"),
            &[100, 422],
            false,
        ),
    ]);

    assert_none_is_smuggled(&auth.url, cases, || auth.process.log()).await;
}

#[tokio::test]
async fn nothing_within_a_request_to_the_transcription_service_is_taken_for_another() {
    let stack = Transcription::start().await;
    let mut cases = of_both();
    let upload = |head: &str, body: &str| {
        format!(
            "POST /transcribe HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=frontier\r\n{head}\r\n{body}"
        )
    };
    let long = "content-length: 10000000\r\n";
    cases.extend([
        case(
            "no token, and a form that is read to its end",
            upload(&format!("content-length: {}\r\n", NEXT.len()), NEXT),
            &[401],
            false,
        ),
        case(
            "no token, and the beginning of a form",
            upload(long, NEXT),
            &[401],
            true,
        ),
        case(
            "no token, and much of a form",
            upload(long, &NEXT.repeat(20_000)),
            &[401],
            true,
        ),
        case(
            "no token, and chunks that are none",
            upload(
                "transfer-encoding: chunked\r\n",
                &format!("smuggled\r\n{NEXT}"),
            ),
            &[401],
            true,
        ),
        case(
            "something else that is expected",
            get("expect: smuggled\r\n"),
            &[200],
            false,
        ),
        case(
            "no token, and a form that is waited for",
            upload(&format!("expect: 100-continue\r\n{long}"), ""),
            &[401],
            true,
        ),
    ]);

    assert_none_is_smuggled(&stack.url, cases, || stack.process.log()).await;
}
