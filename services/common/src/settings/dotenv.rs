//! The `.env` file in the working directory.
//!
//! Quotes, `export` and comments are as usual; `$` is a character like any other, since keys may have it.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::{complain, is_set};

const FILE: &str = ".env";
/// Names that libraries read for themselves.
const OF_LIBRARIES: [&str; 3] = ["AWS_", "OTEL_", "SSL_CERT_"];
const OF_PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
/// Set when the process starts itself again, to its id, which stays: whatever `.env` holds, it is read once.
const READ_BY: &str = "ENV_FILE_READ_BY";

/// Reads `.env` if there is one, and starts the process again with what the real environment does not say.
///
/// Libraries look into the environment too (proxies, `AWS_*`, `OTEL_*`), and a process cannot safely change its own. Names that
/// mean nothing to us are left out: a file that happens to lie in the working directory must not set `LD_PRELOAD`.
pub fn apply(names: &[String], secrets: &[String]) -> Result<(), ExitCode> {
    let own_id = std::process::id().to_string();
    #[expect(clippy::disallowed_methods, reason = "the settings are read here")]
    if env::var_os(READ_BY).is_some_and(|id| id == own_id.as_str()) {
        return Ok(());
    }
    let text = match fs::read_to_string(FILE) {
        Ok(text) => text,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
            ) =>
        {
            return Ok(());
        }
        Err(error) => {
            return Err(complain(&format!(
                "the file {FILE} cannot be read: {error}"
            )));
        }
    };
    let variables = parse(&text).map_err(|error| complain(&format!("{FILE}: {error}")))?;
    let missing = variables
        .into_iter()
        .filter(|(name, value)| {
            !value.is_empty() && is_ours(name, names, secrets) && !is_given(name, secrets)
        })
        .collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    let program = env::current_exe()
        .map_err(|error| complain(&format!("this program's own file is not found: {error}")))?;
    let mut args = env::args_os();
    let name = args.next().unwrap_or_else(|| program.clone().into());
    // Returns only if it fails.
    let error = Command::new(program)
        .arg0(name)
        .args(args)
        .envs(missing)
        .env(READ_BY, own_id)
        .exec();
    Err(complain(&format!(
        "starting again with the settings of {FILE} failed: {error}"
    )))
}

fn is_ours(name: &str, names: &[String], secrets: &[String]) -> bool {
    let of_file = |known: &String| name.strip_suffix("_FILE") == Some(known);
    names.iter().any(|known| known == name)
        || secrets.iter().any(of_file)
        || OF_LIBRARIES.iter().any(|prefix| name.starts_with(prefix))
        || is_proxy(name)
}

/// In upper or in lower case, as libraries look for them, and in no mixture.
fn is_proxy(name: &str) -> bool {
    let is = |known: &str| name == known || name == known.to_ascii_lowercase();
    OF_PROXIES.into_iter().any(is)
}

/// Whether the real environment says it, in any form: a secret by itself or by its file, a proxy in either case.
fn is_given(name: &str, secrets: &[String]) -> bool {
    let secret = name.strip_suffix("_FILE").unwrap_or(name);
    if secrets.iter().any(|known| known == secret) {
        return is_set(secret) || is_set(&format!("{secret}_FILE"));
    }
    if is_proxy(name) {
        return is_set(&name.to_ascii_uppercase()) || is_set(&name.to_ascii_lowercase());
    }
    is_set(name)
}

/// The variables in a file's order. Fails with the line that is wrong.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let (variable, after) = statement(rest).map_err(|error| format!("line {line}: {error}"))?;
        rest = after;
        if let Some((name, value)) = variable {
            // The last one counts.
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
    }
    Ok(variables)
}

/// A variable, if the text begins with one and not with a comment or an empty line, and the text after it.
type Statement<'a> = (Option<(String, String)>, &'a str);

fn statement(text: &str) -> Result<Statement<'_>, String> {
    let (line, after_line) = text.split_once('\n').unwrap_or((text, ""));
    let start = line.trim_start();
    if start.trim_end().is_empty() || start.starts_with('#') {
        return Ok((None, after_line));
    }
    let start = match start.strip_prefix("export") {
        Some(name) if name.starts_with([' ', '\t']) => name.trim_start(),
        _ => start,
    };
    // A name alone says nothing.
    let Some((name, value)) = start.split_once('=') else {
        return Ok((None, after_line));
    };
    let name = name.trim_end();
    let plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if name.is_empty() || !name.chars().all(plain) {
        return Err("what stands before the = is no name of a variable".to_owned());
    }
    // A value in quotes may go over several lines.
    let raw = &text[line.len() - value.len()..];
    let value = raw.trim_start_matches([' ', '\t']);
    let (value, after) = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, after) = quoted(&value[1..], quote)?;
            let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
            let tail = tail.trim();
            if !tail.is_empty() && !tail.starts_with('#') {
                return Err("something stands after the closing quote".to_owned());
            }
            (value, after)
        }
        _ => (unquoted(raw), after_line),
    };
    Ok((Some((name.to_owned(), value)), after))
}

/// Up to the end of the line or a comment, which white space goes before.
fn unquoted(text: &str) -> String {
    let line = text.split('\n').next().unwrap_or_default();
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| line[..*at].ends_with([' ', '\t']));
    line[..comment.unwrap_or(line.len())].trim().to_owned()
}

/// Up to the closing quote, and what follows it. In double quotes `\n`, `\r` and `\t` mean what they mean elsewhere.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((value, &text[at + 1..]));
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        match characters.next() {
            Some((_, escaped)) if escaped == quote || escaped == '\\' => value.push(escaped),
            Some((_, 'n')) if quote == '"' => value.push('\n'),
            Some((_, 'r')) if quote == '"' => value.push('\r'),
            Some((_, 't')) if quote == '"' => value.push('\t'),
            Some((_, other)) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
    }
    Err(format!("the closing {quote} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        parse(line).unwrap().remove(0).1
    }

    #[test]
    fn quotes_export_and_comments_are_as_usual() {
        let text = "\u{feff}# a comment\n\n  export A = plain words # why\nB=\"in # quotes\" # why\nC='it''\n";
        assert!(parse(text).unwrap_err().starts_with("line 5"));

        let text = "# a comment\r\n\r\nALONE\r\nexport A=plain words # why\r\nB=\"in # quotes\" # why\r\nC='single'\r\nD=\nE=a#b\nF=#c # why\nG= # why\nA=again";
        let variables = parse(text).unwrap();
        let expected = [
            ("B", "in # quotes"),
            ("C", "single"),
            ("D", ""),
            ("E", "a#b"),
            ("F", "#c"),
            ("G", ""),
            ("A", "again"),
        ];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_dollar_is_a_character_like_any_other() {
        for line in ["K=a$HOME${x}b", "K=\"a$HOME${x}b\"", "K='a$HOME${x}b'"] {
            assert_eq!(value(line), "a$HOME${x}b");
        }
    }

    #[test]
    fn a_backslash_escapes_in_quotes_only() {
        assert_eq!(value(r"K=a\nb"), r"a\nb");
        assert_eq!(value(r#"K="a\nb\"\\\d""#), "a\nb\"\\\\d");
        assert_eq!(value(r"K='a\nb\'\\'"), r"a\nb'\");
        assert_eq!(value("K=\"two\nlines\""), "two\nlines");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line) in [
            ("A=1\nB='x' y", 2),
            ("A='x", 1),
            ("\n\nA B=1", 3),
            ("=1", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}:")), "{error}");
        }
    }

    #[test]
    fn only_names_that_mean_something_are_taken() {
        let names = ["JWT_SECRET_KEY".to_owned()];
        for name in [
            "JWT_SECRET_KEY",
            "JWT_SECRET_KEY_FILE",
            "OTEL_SERVICE_NAME",
            "https_proxy",
        ] {
            assert!(is_ours(name, &names, &names), "{name}");
        }
        for name in ["LD_PRELOAD", "PATH", "HOME", "OTHER_FILE", "Https_Proxy"] {
            assert!(!is_ours(name, &names, &[]), "{name}");
        }
    }
}
