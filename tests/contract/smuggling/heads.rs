//! Requests without a body that could be read in two ways.

use super::cases::{Case, case, get};

/// Heads that are not as they should be, and some that are.
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub fn heads() -> Vec<Case> {
    vec![
        case("no host", "GET / HTTP/1.1\r\n\r\n", &[400], true),
        case("two hosts", get("host: y\r\n"), &[400], true),
        case("one host twice", get("host: x\r\n"), &[400], true),
        case(
            "no host in HTTP/1.0",
            "GET / HTTP/1.0\r\n\r\n",
            &[200],
            true,
        ),
        case(
            "a folded header",
            get("x-a: b\r\n x-request-id: smuggled\r\n"),
            &[400],
            true,
        ),
        case(
            "a space before the first header",
            "GET / HTTP/1.1\r\n x-a: b\r\nhost: x\r\n\r\n",
            &[400],
            true,
        ),
        case(
            "a carriage return in a value",
            get("x-a: b\rx-request-id: smuggled\r\n"),
            &[400],
            true,
        ),
        case("a NUL in a value", get("x-a: b\0\r\n"), &[400], true),
        case("a NUL in a name", get("x\0a: b\r\n"), &[400], true),
        case(
            "a header without a colon",
            get("smuggled\r\n"),
            &[400],
            true,
        ),
        case("no name", get(": smuggled\r\n"), &[400], true),
        case(
            "too many headers",
            get(&"x-a: b\r\n".repeat(200)),
            &[431],
            true,
        ),
        case(
            "too large headers",
            get(&format!("x-a: {}\r\n", "b".repeat(300_000))),
            &[431],
            true,
        ),
        case(
            "a line feed alone ends a line",
            "GET / HTTP/1.1\nhost: x\n\n",
            &[200],
            false,
        ),
        case(
            "what looks like a request in a value",
            get("x-a: GET /smuggled HTTP/1.1\r\n"),
            &[200],
            false,
        ),
        case(
            "an id that would end its line",
            get("x-request-id: a%0d%0asmuggled\r\n"),
            &[200],
            false,
        ),
        case(
            "a trace that is none",
            get("traceparent: 00-smuggled-smuggled-01\r\ntracestate: smuggled\r\n"),
            &[200],
            false,
        ),
        case(
            "an upgrade to HTTP/2",
            get(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
            ),
            &[200],
            false,
        ),
        case(
            "an upgrade to a socket",
            get("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AA==\r\n"),
            &[200],
            false,
        ),
        case(
            "HTTP/2 without asking",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[],
            true,
        ),
        case("HTTP/0.9", "GET /\r\n", &[400], true),
        case(
            "another HTTP",
            "GET / HTTP/1.2\r\nhost: x\r\n\r\n",
            &[400],
            true,
        ),
    ]
}

/// What a request may be for.
pub fn targets() -> Vec<Case> {
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    vec![
        case(
            "an absolute address",
            target("http://smuggled.example/"),
            &[200],
            false,
        ),
        case(
            "an absolute address that is not there",
            target("http://smuggled.example/nothing"),
            &[404],
            false,
        ),
        case(
            "an address of a user",
            target("http://smuggled@x/"),
            &[200],
            false,
        ),
        case(
            "an address that names a host",
            target("//smuggled.example/"),
            &[404],
            false,
        ),
        case(
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
            &[404],
            false,
        ),
        case(
            "a tunnel",
            "CONNECT smuggled:80 HTTP/1.1\r\nhost: x\r\n\r\n",
            &[404],
            false,
        ),
        case(
            "a line in a path",
            target("/%0d%0aset-cookie:%20smuggled=1"),
            &[404],
            false,
        ),
        case(
            "a line in a query",
            target("/docs?%0d%0aset-cookie:%20smuggled=1"),
            &[308],
            false,
        ),
        case("a NUL in a path", target("/\0smuggled"), &[400], true),
        case(
            "a NUL in a path, encoded",
            target("/docs/%00"),
            &[404],
            false,
        ),
        case(
            "a way out of a folder",
            target("/docs/..%2f..%2f..%2fetc%2fpasswd"),
            &[404],
            false,
        ),
        case(
            "a way out of a folder, twice encoded",
            target("/docs/%252e%252e/"),
            &[404],
            false,
        ),
        case("a backslash", target("/docs\\..\\"), &[404], false),
        case("a space in a path", target("/ smuggled"), &[400], true),
        case("no slash", target("smuggled"), &[404], false),
        case(
            "a long path",
            target(&format!("/{}", "a".repeat(70_000))),
            &[414],
            true,
        ),
    ]
}
