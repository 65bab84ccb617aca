//! The files and the volume of the Python backend, as they are.

use std::fs;
use std::path::Path;

use jsonwebtoken::{DecodingKey, Validation};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tempfile::TempDir;
use transcription_lab::docker::Volume;
use transcription_lab::images::BUSYBOX;
use transcription_tests::auth::credentials;
use transcription_tests::client::{Answer, PASSWORD, http, post};
use transcription_tests::files::root;
use transcription_tests::process::eventually;
use transcription_tests::python::python;
use transcription_tests::speech::librivox;
use transcription_tests::transcription::heard;

use crate::project::Project;
use crate::readme::command;

/// Who has it opens the bucket at Amazon's.
const AMAZON_KEY: &str = "AKIAOFTHEOLDBACKEND";
const AMAZON_SECRET: &str = "the-secret-of-the-old-backend";
const GOOGLE_KEY: &str = "the-key-of-the-old-backend";
const BUCKET: &str = "old-recordings";
/// Compose would look for variables in it, and find HOME.
const SIGNING_KEY: &str = "a-$HOME-and-a-${HOME}-in-a-key-of-more-than-32-bytes";

/// A database of the old backend with one user. The hash is by Python's bcrypt, of [`PASSWORD`].
const OLD_DATABASE: &str = r"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript('''
CREATE TABLE users (id INTEGER NOT NULL, username VARCHAR, email VARCHAR, hashed_password VARCHAR, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE UNIQUE INDEX ix_users_email ON users (email);
INSERT INTO users VALUES (7, 'Ada', 'Ada@example.com', '$2b$12$cuT2/QtYHwrISly1ixGwmO8eRnF8b1DofogMVk0ccsyq0LrgYS2Yi');
''')
";

/// Writes the old backend's two files below a folder, as its documentation shows them, with this line for the key.
pub fn write_files(folder: &Path, key: &str) {
    let auth = format!(
        "DATABASE_URL=\"sqlite:///./data/auth.db\"\n{key}\nALGORITHM=\"HS256\"\nACCESS_TOKEN_EXPIRE_MINUTES=30\n"
    );
    let transcription = format!(
        "GEMINI_API_KEY=\"{GOOGLE_KEY}\"\nS3_BUCKET_NAME=\"{BUCKET}\"\nAWS_ACCESS_KEY_ID=\"{AMAZON_KEY}\"\n\
         AWS_SECRET_ACCESS_KEY=\"{AMAZON_SECRET}\"\nAWS_REGION=\"us-east-1\"\n{key}\nALGORITHM=\"HS256\"\n"
    );
    for (service, text) in [
        ("auth_service", auth),
        ("audio_transcription", transcription),
    ] {
        fs::create_dir_all(folder.join(service)).unwrap();
        fs::write(folder.join(service).join(".env"), text).unwrap();
    }
}

/// The command of the README, with the old backend in this folder.
fn up(folder: &Path) -> String {
    let up = command(&["AUTH_ENV_FILE="]);
    let here = up.replace("../backend", folder.to_str().unwrap());
    assert_ne!(here, up);
    here
}

#[tokio::test]
async fn the_old_backends_files_and_volume_go_on_and_its_keys_never_meet_the_local_store() {
    let mut project = Project::new("old").await;
    let folder = TempDir::new().unwrap();
    write_files(folder.path(), &format!("JWT_SECRET_KEY='{SIGNING_KEY}'"));
    stand_ins(&mut project, folder.path()).await;
    let volume = old_volume(&project, folder.path()).await;
    project
        .environment
        .insert("AUTH_DATA_VOLUME", volume.name().to_owned());
    let up = up(folder.path());

    let refused = project.run(&up).await;
    assert!(!refused.status.success(), "root's file was taken");
    mend_as_told(&project).await;
    project.succeed(&up).await;

    let url = format!("{}/login", project.url("AUTH_PORT"));
    let login = post(&http(), &url, &credentials("ada", PASSWORD)).await;
    assert_eq!(login.status, StatusCode::OK, "{login:?}");
    let token = login.json["access_token"].as_str().unwrap();
    let key = DecodingKey::from_secret(SIGNING_KEY.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(token, &key, &Validation::default()).unwrap();
    assert_eq!(claims.claims["sub"], "7");

    let wav = librivox().remove(0).wav;
    let form = Form::new().part("file", Part::bytes(wav.clone()).file_name("a.wav"));
    let url = format!("{}/transcribe/", project.url("TRANSCRIPTION_PORT"));
    let request = http().post(url).bearer_auth(token).multipart(form).send();
    let answer = Answer::of(request.await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["engine"], "gemini");
    assert_eq!(answer.json["transcription"], heard(&wav));

    let keys = project
        .keys("amazon", BUCKET, AMAZON_KEY, AMAZON_SECRET)
        .await;
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(project.local_keys().await, [""; 0]);
    the_local_store_has_heard_of_nothing(&project).await;
}

/// Starts what stands for Amazon and Google, and lets the old files name them: outside of this machine there is nothing.
async fn stand_ins(project: &mut Project, folder: &Path) {
    project.environment.extend([
        ("AMAZON_KEY", AMAZON_KEY.to_owned()),
        ("AMAZON_SECRET", AMAZON_SECRET.to_owned()),
        ("GOOGLE_KEY", GOOGLE_KEY.to_owned()),
    ]);
    let file = folder.join("audio_transcription/.env");
    let text = fs::read_to_string(&file).unwrap();
    let addresses = "AWS_ENDPOINT_URL_S3=http://amazon:8333\nS3_FORCE_PATH_STYLE=true\nGEMINI_BASE_URL=http://google:8080\n";
    fs::write(&file, text + addresses).unwrap();
    project
        .succeed("docker compose up --detach --wait amazon google")
        .await;
    let keys = project
        .keys("amazon", BUCKET, AMAZON_KEY, AMAZON_SECRET)
        .await;
    assert_eq!(keys, [""; 0]);
}

/// A volume of the old backend, which ran as root.
async fn old_volume(project: &Project, folder: &Path) -> Volume {
    let database = folder.join("auth.db").display().to_string();
    python(OLD_DATABASE, &[&database]).await;
    let docker = &project.engine.docker;
    let volume = Volume::make(docker).await;
    let data = format!("{}:/app/data", volume.name());
    let from = format!("{database}:/auth.db:ro");
    let run = ["run", "--rm", "--network", "none"];
    let copy = [
        "--volume",
        &data,
        "--volume",
        &from,
        BUSYBOX,
        "cp",
        "/auth.db",
        "/app/data/",
    ];
    docker.run(&[&run[..], &copy].concat()).await;
    volume
}

/// The log says in one line what is wrong and what to do, and the README how that is done in a volume.
async fn mend_as_told(project: &Project) {
    let mend = command(&["chown"]);
    eventually("it says what is wrong", async || {
        project.log("auth").await.contains("as root: chown ")
    })
    .await;
    let log = project.log("auth").await;
    println!("{}", log.lines().next_back().unwrap());
    let (_, told) = log.rsplit_once("as root: ").unwrap();
    assert!(mend.ends_with(&format!(" {}", told.trim_end())), "{log}");

    project.succeed(&mend).await;
    project
        .succeed(&command(&["docker compose restart auth"]))
        .await;
}

/// No container of the local store, nor what it has written, knows the old backend's keys.
async fn the_local_store_has_heard_of_nothing(project: &Project) {
    let containers = project.containers().await;
    for service in ["store", "bucket"] {
        let container = containers[service].to_string();
        let log = project.log(service).await;
        for secret in [AMAZON_KEY, AMAZON_SECRET, GOOGLE_KEY, SIGNING_KEY] {
            assert!(!container.contains(secret), "{service}: {container}");
            assert!(!log.contains(secret), "{service}: {log}");
        }
    }
    let variables = containers["transcription"]["Config"]["Env"].to_string();
    assert!(variables.contains(AMAZON_KEY), "{variables}");
    for of_the_local_store in ["store:8333", "no-secret-but", "JWT_SECRET_KEY_FILE"] {
        assert!(!variables.contains(of_the_local_store), "{variables}");
    }
}

#[tokio::test]
async fn a_key_for_one_service_alone_stops_the_start_with_a_sentence() {
    let mut project = Project::new("one-key").await;
    let folder = TempDir::new().unwrap();
    write_files(folder.path(), &format!("JWT_SECRET_KEY='{SIGNING_KEY}'"));
    let file = folder.path().join("audio_transcription/.env");
    project
        .environment
        .insert("TRANSCRIPTION_ENV_FILE", file.display().to_string());

    let output = project.run("docker compose up --build --detach auth").await;

    assert!(!output.status.success(), "{output:?}");
    let log = project.log("signing-key").await;
    assert!(
        log.contains("JWT_SECRET_KEY and JWT_SECRET_KEY_FILE are both set: services that have one each take no tokens of one another"),
        "{log}"
    );
    assert_eq!(
        project.containers().await["auth"]["State"]["Running"],
        false
    );
}

#[tokio::test]
async fn settings_of_ones_own_for_one_service_keep_the_key_of_both() {
    let mut project = Project::new("own-file").await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("mine.env");
    let defaults = fs::read_to_string(root().join("compose/transcription.env"));
    let mine = defaults.unwrap() + "GEMINI_API_KEY='a-key'\n";
    fs::write(&file, mine).unwrap();
    project
        .environment
        .insert("TRANSCRIPTION_ENV_FILE", file.display().to_string());

    let made = project
        .succeed("docker compose run --build --rm signing-key")
        .await;
    let kept = project.succeed("docker compose run --rm signing-key").await;

    assert!(made.contains("Made: /app/data/jwt.key."), "{made}");
    assert!(kept.contains("Kept: /app/data/jwt.key."), "{kept}");
}
