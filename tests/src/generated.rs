//! The files that are made from the code: `make generate` writes them, a test compares them.

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use transcription_common::documentation;
use transcription_common::settings::{Setting, env_example, settings};
use transcription_operator::api::schema;
use transcription_operator::config::{Cli, Command};
use transcription_operator::manifests;
use transcription_operator::reason::{ConditionType, Deed, Reason};

use crate::files::root;
use crate::{errors, rendered};

/// Every generated file, and what stands in it.
pub fn files() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = vec![
        (
            root.join("services/auth/.env.example"),
            env_example::<auth_service::config::Cli>("The settings of the auth service."),
        ),
        (
            root.join("services/transcription/.env.example"),
            env_example::<transcription_service::config::Cli>(
                "The settings of the transcription service.",
            ),
        ),
        (
            root.join("services/auth/openapi.json"),
            documentation::text(&auth_service::routes::document().unwrap()),
        ),
        (
            root.join("services/transcription/openapi.json"),
            documentation::text(&transcription_service::routes::document(None).unwrap()),
        ),
        (root.join("docs/errors.md"), errors::page()),
        (root.join("k8s/crd.yaml"), schema::yaml().unwrap()),
        (root.join("k8s/install.yaml"), install()),
        kubernetes(root.join("docs/kubernetes.md")),
        readme(root.join("README.md")),
    ];
    // Once they are there they are frozen: another test holds the code to them.
    let new = rendered::cases()
        .into_iter()
        .filter(|case| !case.frozen.exists());
    files.extend(new.map(|case| (case.frozen.clone(), case.rendered())));
    files
}

/// The README, with its tables of settings as the code has them.
fn readme(path: PathBuf) -> (PathBuf, String) {
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    let auth = settings::<auth_service::config::Cli>();
    let transcription = settings::<transcription_service::config::Cli>();
    let standalone = settings::<transcription_standalone::config::Cli>();
    let is_one_of = |others: &[Setting], setting: &Setting| others.contains(setting);
    let (both, of_auth): (Vec<_>, Vec<_>) = auth
        .iter()
        .cloned()
        .partition(|setting| is_one_of(&transcription, setting));
    let of_transcription = transcription
        .iter()
        .filter(|setting| !is_one_of(&auth, setting));
    let of_standalone = standalone
        .iter()
        .filter(|setting| !is_one_of(&auth, setting) && !is_one_of(&transcription, setting));
    let operator = settings::<transcription_operator::config::Cli>();
    let of_operator = operator.iter().filter(|setting| !is_one_of(&both, setting));
    let tables = [
        ("both services", table(&both)),
        ("the auth service", table(&of_auth)),
        ("the transcription service", table(of_transcription)),
        ("standalone", table(of_standalone)),
        ("the operator", table(of_operator)),
    ];
    for (name, table) in tables {
        text = filled(&text, &format!("settings of {name}"), &table);
    }
    (path, text)
}

/// A page with what is written between the two marks of a name.
fn filled(text: &str, name: &str, content: &str) -> String {
    let begin = format!("<!-- {name}: written by make generate -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once("<!-- end -->")?;
        Some(format!("{before}{begin}{content}<!-- end -->{after}"))
    });
    parts.unwrap_or_else(|| panic!("there is no place for: {name}"))
}

/// What installs the operator for the whole cluster.
fn install() -> String {
    let cli = Cli::try_parse_from(["transcription-operator", "manifests"]).unwrap();
    let Command::Manifests(settings) = cli.command else {
        panic!("{cli:?}");
    };
    manifests::yaml(&settings).unwrap()
}

/// The page about Kubernetes, with its tables of conditions and reasons as the code has them.
fn kubernetes(path: PathBuf) -> (PathBuf, String) {
    let text = fs::read_to_string(&path).unwrap_or_default();
    let conditions = ConditionType::ALL
        .iter()
        .map(|one| (one.name(), one.meaning()));
    let text = filled(
        &text,
        "conditions",
        &words(["condition", "when it is `True`", "what to do"], conditions),
    );
    let reasons = Reason::ALL.iter().map(|one| (one.name(), one.meaning()));
    let text = filled(
        &text,
        "reasons",
        &words(["reason", "what it means", "what to do"], reasons),
    );
    let deeds = Deed::ALL.iter().map(|one| (one.name(), one.meaning()));
    let events = words(
        ["reason of the event", "what it means", "what to do"],
        deeds,
    );
    (path, filled(&text, "events", &events))
}

/// A table of a closed set of words.
fn words<'a>(
    head: [&str; 3],
    words: impl Iterator<Item = (&'a str, (&'a str, &'a str))>,
) -> String {
    let head = format!("| {} |\n|---|---|---|\n", head.join(" | "));
    let rows =
        words.map(|(name, (meaning, remedy))| format!("| `{name}` | {meaning} | {remedy} |\n"));
    std::iter::once(head).chain(rows).collect()
}

fn table<'a>(settings: impl IntoIterator<Item = &'a Setting>) -> String {
    let rows = settings.into_iter().map(|setting| {
        let Setting {
            name,
            default,
            is_required,
            about,
        } = setting;
        let default = match default {
            _ if *is_required => "needed".to_owned(),
            Some(default) => format!("`{default}`"),
            None => "–".to_owned(),
        };
        format!("| `{name}` | {default} | {} |\n", about.replace('|', "\\|"))
    });
    let rows = rows.collect::<String>();
    assert!(!rows.is_empty(), "a table without settings");
    format!("| setting | default | what it is |\n|---|---|---|\n{rows}")
}
