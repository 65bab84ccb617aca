//! The files that are made from the code: `make generate` writes them, a test compares them.

use std::fs;
use std::path::{Path, PathBuf};

use transcription_common::documentation;
use transcription_common::settings::{Setting, env_example, settings};

use crate::errors;

/// Every generated file, and what stands in it.
pub fn files() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1);
    let root = root.unwrap();
    vec![
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
        readme(root.join("README.md")),
    ]
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
    let tables = [
        ("both services", table(&both)),
        ("the auth service", table(&of_auth)),
        ("the transcription service", table(of_transcription)),
        ("standalone", table(of_standalone)),
    ];
    for (name, table) in tables {
        let begin = format!("<!-- settings of {name}: written by make generate -->\n");
        let parts = text.split_once(&begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once("<!-- end -->")?;
            Some(format!("{before}{begin}{table}<!-- end -->{after}"))
        });
        text = parts.unwrap_or_else(|| panic!("README.md has no place for the settings of {name}"));
    }
    (path, text)
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
    let head = "| setting | default | what it is |\n|---|---|---|\n".to_owned();
    std::iter::once(head).chain(rows).collect()
}
