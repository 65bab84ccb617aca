//! The files that are made from the code: `make generate` writes them, a test compares them.

use std::path::{Path, PathBuf};

use transcription_common::documentation;
use transcription_common::settings::env_example;

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
            documentation::text(&transcription_service::routes::document().unwrap()),
        ),
        (root.join("docs/errors.md"), errors::page()),
    ]
}
