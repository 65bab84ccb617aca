//! Every error that the services answer, from the lists that the code makes its answers with: the page about them, and whether an
//! answer has one of them.

use std::fmt::Write;

use auth_service::code::oauth;
use serde_json::Value;
use transcription_common::code::{Accepted, BODY, BOTH, Code};

/// Fails the test if a problem has a code that is in no list, or has another status there.
#[track_caller]
pub fn assert_problem_is_listed(problem: &Value) {
    let (code, status) = (&problem["code"], &problem["status"]);
    let lists = [
        BOTH,
        BODY,
        auth_service::code::OWN,
        transcription_service::code::OWN,
    ];
    let is_this = |listed: &Code| code == listed.name() && *status == listed.status();
    let mut codes = lists.into_iter().flatten();
    assert!(
        codes.any(is_this),
        "{code} with {status} is in no list of codes"
    );
}

/// Fails the test if an error of `/token` is in no list, or has another status there.
#[track_caller]
pub fn assert_of_token_is_listed(status: u16, error: &Value) {
    let word = &error["error"];
    let is_this = |listed: &Code| word == listed.name() && status == listed.status();
    assert!(
        oauth::ALL.iter().any(is_this),
        "{word} with {status} is in no list of codes"
    );
}

/// The page about errors (Markdown).
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let example = transcription_service::error::examples().unwrap();
    let example = example
        .iter()
        .find(|example| example.code() == transcription_service::code::ENGINE_QUOTA)
        .unwrap();
    let _ = write!(page, "{EXAMPLE_HEAD}{:#}\n{EXAMPLE_TAIL}", example.body());
    section(&mut page, "Both services", "", BOTH, false);
    let bodies = "`/register` and `/login` also refuse bodies that are not JSON of a few fields:";
    section(
        &mut page,
        "Auth service",
        "",
        auth_service::code::OWN,
        false,
    );
    let _ = writeln!(page, "\n{bodies}\n");
    table(&mut page, BODY, false);
    section(
        &mut page,
        "Transcription service",
        KEPT,
        transcription_service::code::OWN,
        true,
    );
    section(
        &mut page,
        "`/token` of the auth service",
        TOKEN,
        oauth::ALL,
        false,
    );
    page
}

const HEAD: &str = "\
<!-- Made from the code by `make generate`: change services/*/src/code.rs and tests/src/errors.rs. -->

# Errors

Every error that the two services answer, with what it means and what to do. The services make their answers from the same lists, so
there is no other one; what the HTTP parser itself refuses (a broken request line, a head that is too large or too slow) has no body.

";

const EXAMPLE_HEAD: &str = "\
## How an error looks

```http
HTTP/1.1 503 Service Unavailable
content-type: application/problem+json
x-request-id: 01a204424fb771e2bd64ded8192ca8b9
retry-after: 35

";

const EXAMPLE_TAIL: &str = "\
```

It is a problem as RFC 9457 describes them.

- **A program** looks at `code`, and at the HTTP status if it does not know the code: there may be new ones. A code never changes its meaning or status.
- **A person** reads `detail`. Its words may change; no program should look for them.
- `Retry-After` is there where waiting helps, and tells the seconds. Where it is left out, nobody knows that waiting helps.
- `request_id` is also the header `x-request-id`, and in every line that the service logged for this request. Send a header `x-request-id` of your own (1 to 128 of `A-Z a-z 0-9 . _ -`) and it is taken.
- `errors`, with `invalid_field`: one entry `{\"field\": …, \"message\": …}` for each field that is wrong.
- `id` and `audio_key`, from `/transcribe`: the recording was accepted before the error. It is kept, and `GET /transcriptions/{id}` tells what became of it.
- `parts`, with `not_ready`: each part that the service needs, and `ok` or what is wrong with it.
- Every `401` has the header `WWW-Authenticate: Bearer`.
";

const KEPT: &str = "\
A recording that was accepted is kept, whatever happens then, and has its manifest in the bucket. It is not transcribed by itself later: send
it again for a text. `internal` can come before or after: there too the `id` tells.
";

const TOKEN: &str = "\
OAuth 2 has its own form: `{\"error\": …, \"error_description\": …}` as `application/json`, with the words of RFC 6749 §5.2. One word can come
with more than one status.
";

fn section(page: &mut String, title: &str, about: &str, codes: &[Code], with_kept: bool) {
    let _ = writeln!(page, "\n## {title}\n");
    if !about.is_empty() {
        let _ = writeln!(page, "{about}");
    }
    table(page, codes, with_kept);
}

/// One row for each code; those of recordings say whether it is kept.
fn table(page: &mut String, codes: &[Code], with_kept: bool) {
    let (kept, line) = if with_kept {
        (" Recording kept |", "---|")
    } else {
        ("", "")
    };
    let _ = writeln!(
        page,
        "| Code | Status | What happened | What to do | For the operator |{kept}"
    );
    let _ = writeln!(page, "|---|---|---|---|---|{line}");
    for code in codes {
        let kept = match code.accepted() {
            _ if !with_kept => "",
            Accepted::Never => " no |",
            Accepted::Sometimes => " if there is an `id` |",
            Accepted::Always => " yes |",
        };
        let (name, status, meaning) = (code.name(), code.status(), code.meaning());
        let (remedy, operator) = (code.remedy(), code.operator().unwrap_or_default());
        let _ = writeln!(
            page,
            "| `{name}` | {status} | {meaning} | {remedy} | {operator} |{kept}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_said_once_in_sentences_that_fit_a_table() {
        let lists = [
            BOTH,
            BODY,
            auth_service::code::OWN,
            transcription_service::code::OWN,
        ];
        let mut names = Vec::new();
        for code in lists.into_iter().flatten() {
            names.push(code.name());
            let sentences = [Some(code.meaning()), Some(code.remedy()), code.operator()];
            for sentence in sentences.into_iter().flatten() {
                assert!(sentence.ends_with('.'), "{sentence}");
                assert!(!sentence.contains(['|', '\n', '<']), "{sentence}");
            }
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
