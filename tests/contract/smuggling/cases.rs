//! Requests that could be read in two ways, and what ours makes of them: both services the same.

use super::heads::{heads, targets};

/// What must never be answered, nor be in a head or the log.
pub const NEXT: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\nx-request-id: smuggled\r\n\r\n";

/// What is sent, and what comes of it.
pub struct Case {
    /// In words.
    pub what: &'static str,
    /// Over the wire.
    pub sent: Vec<u8>,
    /// The statuses of the answers.
    pub answers: &'static [u16],
    /// Whether the connection is closed behind them.
    pub closes: bool,
}

/// What is sent, what is answered, and whether the connection is closed then.
pub fn case(
    what: &'static str,
    sent: impl Into<Vec<u8>>,
    answers: &'static [u16],
    closes: bool,
) -> Case {
    Case {
        what,
        sent: sent.into(),
        answers,
        closes,
    }
}

/// A request to an address that everybody may ask.
pub fn get(head: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: x\r\n{head}\r\n")
}

/// A request with a body, to an address that reads none of it: the body is what is behind the head.
fn post(head: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n{body}")
}

/// All that both services answer alike.
pub fn of_both() -> Vec<Case> {
    [
        lengths(),
        encodings(),
        chunks(),
        heads(),
        targets(),
        sequences(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lengths() -> Vec<Case> {
    let ended = format!("0\r\n\r\n{NEXT}");
    let length = ended.len();
    let both = |head: &str| post(head, &ended);
    vec![
        case(
            "a length and chunks",
            both(&format!(
                "content-length: {length}\r\ntransfer-encoding: chunked\r\n"
            )),
            &[405],
            true,
        ),
        case(
            "chunks and a length",
            both(&format!(
                "transfer-encoding: chunked\r\ncontent-length: {length}\r\n"
            )),
            &[405],
            true,
        ),
        case(
            "one length twice",
            post("content-length: 2\r\ncontent-length: 2\r\n", "{}"),
            &[405],
            false,
        ),
        case(
            "two lengths",
            post("content-length: 2\r\ncontent-length: 0\r\n", "{}"),
            &[400],
            true,
        ),
        case(
            "a list of lengths",
            post("content-length: 2, 2\r\n", "{}"),
            &[400],
            true,
        ),
        case(
            "a length with a sign",
            post("content-length: +2\r\n", "{}"),
            &[400],
            true,
        ),
        case(
            "a length below nothing",
            post("content-length: -1\r\n", NEXT),
            &[400],
            true,
        ),
        case(
            "a length in hexadecimal",
            post("content-length: 0x2\r\n", "{}"),
            &[400],
            true,
        ),
        case(
            "a length beyond 64 bits",
            post("content-length: 18446744073709551618\r\n", "{}"),
            &[400],
            true,
        ),
        case(
            "an empty length",
            post("content-length: \r\n", NEXT),
            &[400],
            true,
        ),
    ]
}

fn encodings() -> Vec<Case> {
    let encoded = |value: &str| {
        post(
            &format!("transfer-encoding: {value}\r\n"),
            &format!("0\r\n\r\n{NEXT}"),
        )
    };
    vec![
        case(
            "chunked, then identity",
            encoded("chunked, identity"),
            &[400],
            true,
        ),
        case("identity", encoded("identity"), &[400], true),
        case("another word", encoded("xchunked"), &[400], true),
        case(
            "a letter that looks like a space",
            encoded("\u{b}chunked"),
            &[400],
            true,
        ),
        case(
            "two lines, the last is not chunked",
            encoded("chunked\r\ntransfer-encoding: identity"),
            &[400],
            true,
        ),
        case(
            "chunks in HTTP/1.0",
            format!(
                "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[400],
            true,
        ),
        case(
            "a space before the colon",
            post(
                "transfer-encoding : chunked\r\ncontent-length: 5\r\n",
                "0\r\n\r\n",
            ),
            &[400],
            true,
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let chunked = |body: &str| post("transfer-encoding: chunked\r\n", body);
    vec![
        case(
            "whole chunks",
            chunked("2;a=b\r\n{}\r\n0\r\nx-request-id: smuggled\r\n\r\n"),
            &[405],
            false,
        ),
        case(
            "a size that is no number",
            chunked(&format!("g\r\n\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "a size with a sign",
            chunked(&format!("-1\r\n\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "a size with 0x",
            chunked(&format!("0x2\r\n{{}}\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "a size beyond 64 bits",
            chunked(&format!("10000000000000002\r\n{{}}\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "no size",
            chunked(&format!("\r\n\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "a chunk that is longer than it says",
            chunked(&format!("1\r\n{{}}\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "a line feed alone behind a size",
            chunked(&format!("2\n{{}}\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "an extension with a line feed",
            chunked(&format!("2;a\n{{}}\r\n0\r\n\r\n{NEXT}")),
            &[405],
            true,
        ),
        case(
            "an endless extension",
            chunked(&format!(
                "2;{}\r\n{{}}\r\n0\r\n\r\n{NEXT}",
                "a".repeat(40_000)
            )),
            &[405],
            true,
        ),
        case(
            "an endless trailer",
            chunked(&format!("0\r\na: {}\r\n\r\n{NEXT}", "a".repeat(40_000))),
            &[405],
            true,
        ),
    ]
}

/// What comes behind a request, or within it.
fn sequences() -> Vec<Case> {
    let long = format!("content-length: {}\r\n", 10_000_000);
    vec![
        case(
            "two requests",
            format!("{}GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n", get("")),
            &[200, 404],
            false,
        ),
        case(
            "a body that a GET has",
            format!(
                "{}{NEXT}",
                get(&format!("content-length: {}\r\n", NEXT.len()))
            ),
            &[200],
            false,
        ),
        case(
            "a body that is not read",
            post(&format!("content-length: {}\r\n", NEXT.len()), NEXT),
            &[405],
            false,
        ),
        case(
            "the beginning of a body that is not read",
            post(&long, &NEXT.repeat(3)),
            &[405],
            true,
        ),
        case(
            "much of a body that is not read",
            post(&long, &NEXT.repeat(12_000)),
            &[405],
            true,
        ),
        case(
            "a body that is waited for",
            post("expect: 100-continue\r\ncontent-length: 2\r\n", ""),
            &[405],
            true,
        ),
        case(
            "lines before a request",
            format!("\r\n\r\n{}", get("")),
            &[200],
            false,
        ),
        case(
            "the end of a connection, then a request",
            format!("{}{NEXT}", get("connection: close\r\n")),
            &[200],
            true,
        ),
    ]
}
