//! Settings from files: `.env` and `NAME_FILE`.

use std::fs;
use std::process::Command;

use reqwest::StatusCode;
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::files::binary;
use transcription_tests::process::{Process, free_port, wait_until_answered};
use transcription_tests::stack::SIGNING_KEY;

use crate::start::{auth, complaint};

/// Starts the program in a folder, with no settings but those in the folder's `.env` and an address.
async fn start_by_env_file(folder: &TempDir, text: &str) -> (Process, String) {
    fs::write(folder.path().join(".env"), text).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(binary("auth-service"));
    command
        .env_clear()
        .env("LISTEN_ADDR", &address)
        .current_dir(folder.path());
    let mut process = Process::start(&mut command, folder.path().join("log"));
    let url = format!("http://{address}");
    wait_until_answered(&url, &mut process).await;
    (process, url)
}

#[tokio::test]
async fn the_old_backends_env_file_starts_the_service_with_a_warning_about_its_published_key() {
    let folder = TempDir::new().unwrap();
    let old = "DATABASE_URL=\"sqlite:///./data/auth.db\"\nJWT_SECRET_KEY=\"your-super-secret-and-long-random-string-for-jwt\"\nALGORITHM=\"HS256\"\nACCESS_TOKEN_EXPIRE_MINUTES=30\n";

    let (process, url) = start_by_env_file(&folder, old).await;

    let answer = transcription_tests::client::http()
        .get(url)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(folder.path().join("data/auth.db").is_file());
    assert!(
        process.log().contains("everybody can make tokens with it"),
        "{}",
        process.log()
    );
    assert!(
        !process.log().contains("your-super-secret"),
        "{}",
        process.log()
    );
}

#[tokio::test]
async fn an_env_file_is_read_as_usual_and_the_real_environment_wins() {
    let mut auth = Auth::start().await;
    auth.process.terminate().await;
    let key = "a-key-with-$HOME-and-${braces}-and-a-#-in-it";
    let text = format!(
        "# settings\nexport JWT_SECRET_KEY='{key}' # of this test\nALGORITHM=HS512\nACCESS_TOKEN_EXPIRE_MINUTES=\"5\"\nBCRYPT_COST=31\nLD_PRELOAD=/nowhere.so\nUNKNOWN=1\n"
    );
    fs::write(auth.folder.path().join(".env"), text).unwrap();

    auth.restart([("JWT_SECRET_KEY", ""), ("ACCESS_TOKEN_EXPIRE_MINUTES", "7")])
        .await;

    auth.register("ada").await;
    let answer = auth
        .login("ada", transcription_tests::client::PASSWORD)
        .await;
    assert_eq!(answer.json["expires_in"], 420, "the real environment wins");
    let token = answer.json["access_token"].as_str().unwrap();
    let subject = transcription_tests::python::python(
        "import jwt, sys; print(jwt.decode(sys.argv[1], sys.argv[2], algorithms=['HS512'])['sub'])",
        &[token, key],
    )
    .await;
    assert_eq!(subject, "1", "the key has its dollars");
    assert!(
        !auth.process.log().contains("nowhere.so"),
        "{}",
        auth.process.log()
    );
}

#[tokio::test]
async fn an_env_file_serves_the_libraries_too() {
    let collector = transcription_tests::collector::Collector::start().await;
    let folder = TempDir::new().unwrap();
    let text = format!(
        "JWT_SECRET_KEY={SIGNING_KEY}\nOTEL_EXPORTER_OTLP_ENDPOINT={}\nOTEL_SERVICE_NAME=by-file\nOTEL_BSP_SCHEDULE_DELAY=100\n",
        collector.endpoint
    );

    let (_process, _) = start_by_env_file(&folder, &text).await;

    transcription_tests::process::eventually("a span has come", async || {
        let spans = collector.spans();
        spans
            .iter()
            .any(|span| span.resource["service.name"] == "by-file")
    })
    .await;
}

#[tokio::test]
async fn an_env_file_names_the_proxies_in_upper_or_lower_case_and_a_mixture_is_nothing() {
    for (name, is_taken) in [
        ("HTTP_PROXY", true),
        ("http_proxy", true),
        ("Http_Proxy", false),
    ] {
        let proxy = transcription_tests::collector::Collector::start().await;
        let folder = TempDir::new().unwrap();
        // No such host: only a proxy can take what goes there.
        let text = format!(
            "JWT_SECRET_KEY={SIGNING_KEY}\n{name}={}\nOTEL_EXPORTER_OTLP_ENDPOINT=http://collector.invalid:4318\n",
            proxy.endpoint
        );

        let (mut process, _) = start_by_env_file(&folder, &text).await;
        // The spans that are left are sent at the end.
        assert!(process.terminate().await.success());

        assert_eq!(!proxy.spans().is_empty(), is_taken, "{name}");
    }
}

#[tokio::test]
async fn a_key_in_a_file_with_windows_line_ends_is_the_key_alone() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    auth.process.terminate().await;
    fs::write(
        auth.folder.path().join("jwt.key"),
        format!("{SIGNING_KEY}\r\n"),
    )
    .unwrap();

    auth.restart([("JWT_SECRET_KEY", ""), ("JWT_SECRET_KEY_FILE", "jwt.key")])
        .await;

    assert_eq!(auth.me(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_env_file_that_is_broken_is_one_line_and_a_folder_of_that_name_is_none() {
    let folder = TempDir::new().unwrap();
    for (text, reason) in [
        (
            &b"A='x' y"[..],
            ".env: line 1: something stands after the closing quote",
        ),
        (b"A=1\nB='x", ".env: line 2: the closing ' is missing"),
        (b"A=\xff\xfe", "the file .env cannot be read"),
        (b"BCRYPT_COST=3", "BCRYPT_COST: "),
    ] {
        fs::write(folder.path().join(".env"), text).unwrap();
        let (line, code) = complaint(auth(&folder)).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(reason), "{line}");
    }

    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join(".env")).unwrap();
    let mut command = auth(&folder);
    command.env("BCRYPT_COST", "3");
    let (line, _) = complaint(command).await;
    assert!(line.starts_with("BCRYPT_COST: "), "{line}");
}

#[tokio::test]
async fn a_key_is_made_only_if_it_is_needed() {
    let mut auth = Auth::start().await;
    let make = ["make-key", "--if-needed", "new.key"];
    let file = auth.folder.path().join("new.key");

    let said = auth.succeed(&make, "").await;
    assert!(said.starts_with("None is needed"), "{said}");
    assert!(!file.exists());

    // One service has the one, the other the other.
    auth.environment
        .insert("JWT_SECRET_KEY_FILE", "new.key".to_owned());
    let line = auth.fail(&make, "").await;
    assert!(line.contains("are both set"), "{line}");
    assert!(!line.contains(SIGNING_KEY), "{line}");

    auth.environment.insert("JWT_SECRET_KEY", String::new());
    let said = auth.succeed(&make, "").await;
    assert!(said.starts_with("Made: new.key."), "{said}");
    let key = fs::read(&file).unwrap();
    let said = auth.succeed(&make, "").await;
    assert!(said.starts_with("Kept: new.key."), "{said}");
    assert_eq!(fs::read(&file).unwrap(), key);
}
