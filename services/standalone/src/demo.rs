//! The first user: registers, logs in and transcribes a recording, by the public API alone, and says what happened.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::config::Config;
use crate::s3::BUCKET;
use crate::stack::Addresses;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Heard {
    transcription: String,
    language: Option<String>,
    duration_seconds: Option<f64>,
    engine: String,
    model: String,
    audio_key: String,
    transcript_key: String,
}

/// Transcribes `recording` as a new user and prints the text, where it is stored and what it took.
pub async fn run(addresses: &Addresses, config: &Config, recording: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let engine_limit = Duration::from_secs(config.engine.engine_timeout_seconds.get());
    let client = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(engine_limit + CONNECT_LIMIT)
        // The addresses are this machine's own.
        .no_proxy()
        .build()
        .context("preparing the HTTP client")?;
    let audio = tokio::fs::read(recording)
        .await
        .with_context(|| format!("the recording {} cannot be read", recording.display()))?;
    let auth = format!("http://{}", addresses.auth);
    let transcription = format!("http://{}", addresses.transcription);

    let name = format!("demo-{}", Uuid::new_v4().simple());
    let password = Uuid::new_v4().to_string();
    say(&format!("Registering {name} at {auth} ..."))?;
    let account = [
        ("username", name.as_str()),
        ("email", &format!("{name}@example.com")),
        ("password", &password),
    ];
    let account = account
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    ask::<serde::de::IgnoredAny>(client.post(format!("{auth}/register")).json(&account)).await?;
    let login = [
        ("username_or_email", name.as_str()),
        ("password", &password),
    ];
    let login = login
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    let token = ask::<Token>(client.post(format!("{auth}/login")).json(&login)).await?;

    say(&format!(
        "Sending {} to {transcription}/transcribe ...",
        recording.display()
    ))?;
    let file_name = recording.file_name().unwrap_or_default().to_string_lossy();
    let form = Form::new().part("file", Part::bytes(audio).file_name(file_name.into_owned()));
    let sent = Instant::now();
    let request = client
        .post(format!("{transcription}/transcribe"))
        .bearer_auth(token.access_token)
        .multipart(form);
    let heard = ask::<Heard>(request).await?;

    let length = heard
        .duration_seconds
        .map_or_else(String::new, |seconds| format!("{seconds:.1} s of "));
    let language = heard.language.unwrap_or_else(|| "?".to_owned());
    let folder = config.data_dir.join("s3").join(BUCKET);
    say(&format!(
        "\n  {}\n\n\
         It took {:.1} s to hear {length}speech ({} {}, language {language}), {:.1} s with a new account.\n\
         The recording: {}\n\
         The text:      {}",
        heard.transcription,
        sent.elapsed().as_secs_f64(),
        heard.engine,
        heard.model,
        start.elapsed().as_secs_f64(),
        folder.join(&heard.audio_key).display(),
        folder.join(&heard.transcript_key).display(),
    ))
}

/// Says how to do the same by hand.
pub fn explain(addresses: &Addresses, recording: &Path) -> anyhow::Result<()> {
    let auth = format!("http://{}", addresses.auth);
    let transcription = format!("http://{}", addresses.transcription);
    let recording = recording.display();
    say(&format!(
        "\nAccounts at {auth}, transcription at {transcription}: open them in a browser, or try it here:\n\n\
         curl {auth}/register --json '{{\"username\": \"ada\", \"email\": \"ada@example.com\", \"password\": \"correct horse\"}}'\n\
         TOKEN=$(curl -s {auth}/login --json '{{\"username_or_email\": \"ada\", \"password\": \"correct horse\"}}' | cut -d '\"' -f 4)\n\
         curl {transcription}/transcribe -H \"Authorization: Bearer $TOKEN\" -F file=@{recording}\n\n\
         Ctrl-C ends it."
    ))
}

async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let response = request.send().await.context("asking the service")?;
    let response = explain_refusal(response).await?;
    response
        .json()
        .await
        .context("reading the service's answer")
}

async fn explain_refusal(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem = response.text().await.unwrap_or_default();
    anyhow::bail!("the service answered {status}: {problem}")
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("writing to standard output")
}
