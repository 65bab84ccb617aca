//! Settings: where they come from, and that a start that cannot be is one plain sentence.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use reqwest::StatusCode;
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::files::binary;
use transcription_tests::process::{Process, free_port, run, wait_until_answered};
use transcription_tests::stack::{SIGNING_KEY, standalone_command};

/// The line on standard error, which is the only one, and the exit code.
async fn complaint(command: Command) -> (String, i32) {
    let Output {
        status,
        stderr,
        stdout,
    } = run(command, "").await;
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(stdout.is_empty());
    (line.trim_end().to_owned(), status.code().unwrap())
}

fn auth(folder: &TempDir) -> Command {
    let mut command = Command::new(binary("auth-service"));
    command
        .env_clear()
        .env("JWT_SECRET_KEY", SIGNING_KEY)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("RUST_LOG", "warn")
        .current_dir(folder.path());
    command
}

#[tokio::test]
async fn a_port_in_use_is_one_sentence_with_the_setting_to_change() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (mut command, ..) = standalone_command(folder.path());
    command.env("TRANSCRIPTION_LISTEN_ADDR", address.to_string());

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    let expected = format!(
        "port {} on 127.0.0.1 is in use by another program: stop that, or set another one, for example TRANSCRIPTION_LISTEN_ADDR=127.0.0.1:{}",
        address.port(),
        address.port().wrapping_add(10).max(1024)
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("data"),
        "a file where the folder should be",
    )
    .unwrap();
    let (command, ..) = standalone_command(folder.path());

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    assert!(
        line.starts_with("the data folder ./data cannot be made"),
        "{line}"
    );
}

#[tokio::test]
async fn a_model_that_is_not_there_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    let (mut command, ..) = standalone_command(folder.path());
    command
        .env("WHISPER_MODEL", "/nowhere/base")
        .env("RUST_LOG", "warn");

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    assert!(
        line.starts_with("WHISPER_MODEL: /nowhere/base is no Whisper model"),
        "{line}"
    );
}

#[tokio::test]
async fn a_database_that_is_none_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("text.db"),
        "no database, but long enough to look like one",
    )
    .unwrap();
    fs::create_dir(folder.path().join("folder.db")).unwrap();

    for (url, reason) in [
        (
            "sqlite:///text.db",
            "auth-service cannot start: the database text.db cannot be opened",
        ),
        (
            "sqlite:///folder.db",
            "auth-service cannot start: the database folder.db cannot be made",
        ),
        (
            "sqlite:///missing.db?mode=rw",
            "auth-service cannot start: the database missing.db cannot be opened",
        ),
        (
            "sqlite:////proc/no/auth.db",
            "auth-service cannot start: the database /proc/no/auth.db cannot be made",
        ),
    ] {
        let mut command = auth(&folder);
        command.env("DATABASE_URL", url).env("RUST_LOG", "off");
        let (line, code) = complaint(command).await;
        assert_eq!(code, 1, "{line}");
        assert!(line.starts_with(reason), "{line}");
    }
}

/// A variable, a value that it does not take, how the line begins, and the example in it.
const BAD_SETTINGS: [(&str, &str, &str, &str); 33] = [
    ("JWT_SECRET_KEY", "", "JWT_SECRET_KEY: required", "--help"),
    (
        "JWT_SECRET_KEY",
        "too short",
        "JWT_SECRET_KEY: the key must have at least 32 bytes",
        "make one with",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS",
        "too short",
        "JWT_SECRET_KEY_PREVIOUS: the key must have at least 32 bytes",
        "make one with",
    ),
    ("BCRYPT_COST", "3", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    ("BCRYPT_COST", "32", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    ("BCRYPT_COST", "twelve", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    (
        "PASSWORD_MIN_LENGTH",
        "0",
        "PASSWORD_MIN_LENGTH: ",
        "PASSWORD_MIN_LENGTH=8",
    ),
    (
        "PASSWORD_MIN_LENGTH",
        "73",
        "PASSWORD_MIN_LENGTH: ",
        "PASSWORD_MIN_LENGTH=8",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "0",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "-5",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "99999999999",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ALGORITHM",
        "none",
        "ALGORITHM: ",
        "it takes: HS256, HS384, HS512",
    ),
    (
        "ALGORITHM",
        "RS256",
        "ALGORITHM: ",
        "it takes: HS256, HS384, HS512",
    ),
    (
        "REGISTRATION",
        "maybe",
        "REGISTRATION: ",
        "it takes: open, closed",
    ),
    (
        "TRUSTED_PROXIES",
        "10.0.0.0/33",
        "TRUSTED_PROXIES: 10.0.0.0/33 is no network",
        "TRUSTED_PROXIES=10.0.0.0/8",
    ),
    (
        "DATABASE_URL",
        "postgres://x",
        "DATABASE_URL: only SQLite is supported",
        "sqlite:///./data/auth.db",
    ),
    (
        "DATABASE_URL",
        "sqlite://",
        "DATABASE_URL: it names no file",
        "sqlite:///./data/auth.db",
    ),
    (
        "LISTEN_ADDR",
        "8001",
        "LISTEN_ADDR: ",
        "LISTEN_ADDR=0.0.0.0:8001",
    ),
    (
        "MANAGEMENT_ADDR",
        "9090",
        "MANAGEMENT_ADDR: ",
        "MANAGEMENT_ADDR=[::]:9090",
    ),
    (
        "CORS_ALLOWED_ORIGINS",
        "https://a.example/",
        "CORS_ALLOWED_ORIGINS: https://a.example/ is no origin",
        "https://app.example.com",
    ),
    (
        "SHUTDOWN_GRACE_SECONDS",
        "0",
        "SHUTDOWN_GRACE_SECONDS: ",
        "SHUTDOWN_GRACE_SECONDS=30",
    ),
    (
        "SHUTDOWN_DELAY_SECONDS",
        "-1",
        "SHUTDOWN_DELAY_SECONDS: ",
        "SHUTDOWN_DELAY_SECONDS=0",
    ),
    (
        "LOG_FORMAT",
        "xml",
        "LOG_FORMAT: ",
        "it takes: json, pretty",
    ),
    (
        "RUST_LOG",
        "info,=x=",
        "RUST_LOG: ",
        "RUST_LOG=info,sqlx=warn",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "collector:4318",
        "OTEL_EXPORTER_OTLP_ENDPOINT: ",
        "http://collector:4318",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "ftp://collector",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: it is no http address",
        "http://collector:4318",
    ),
    (
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "brotli",
        "OTEL_EXPORTER_OTLP_COMPRESSION: ",
        "it takes: none, gzip",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "0",
        "OTEL_EXPORTER_OTLP_TIMEOUT: ",
        "OTEL_EXPORTER_OTLP_TIMEOUT=10000",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "zipkin",
        "OTEL_TRACES_EXPORTER: ",
        "it takes: otlp, none",
    ),
    (
        "CA_BUNDLE_FILE",
        "empty",
        "CA_BUNDLE_FILE: empty holds no certificate",
        "-----BEGIN CERTIFICATE-----",
    ),
    (
        "JWT_SECRET_KEY_FILE",
        "empty",
        "JWT_SECRET_KEY and JWT_SECRET_KEY_FILE are both set: keep one",
        "JWT_SECRET_KEY_FILE=/run/secrets/jwt_secret_key",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "empty",
        "JWT_SECRET_KEY_PREVIOUS_FILE: empty is empty",
        "JWT_SECRET_KEY_PREVIOUS_FILE=/run/secrets/jwt_secret_key_previous",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "missing",
        "JWT_SECRET_KEY_PREVIOUS_FILE: missing cannot be read",
        "JWT_SECRET_KEY_PREVIOUS_FILE=/run/secrets/jwt_secret_key_previous",
    ),
];

/// Settings that take anything. OpenTelemetry defines that what is not `true` means false, and a cluster may give every program the
/// same protocol: it is looked at where traces are sent, in a test of its own.
const TAKES_ANYTHING: [&str; 3] = [
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];

/// The names in the generated `.env.example`, which a test compares with the settings in the code.
fn names_of_settings() -> impl Iterator<Item = &'static str> {
    let example = include_str!("../../services/auth/.env.example");
    let settings = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once("=\""));
    settings.map(|(name, _)| name)
}

#[test]
fn every_setting_has_a_bad_value_that_is_tried() {
    for name in names_of_settings() {
        let is_tried = BAD_SETTINGS.iter().any(|(tried, ..)| *tried == name);
        assert!(is_tried || TAKES_ANYTHING.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_bad_setting_is_one_line_with_its_name_the_reason_an_example_and_exit_code_2() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();

    for (name, value, expected, example) in BAD_SETTINGS {
        let mut command = auth(&folder);
        command.env(name, value);
        let (line, code) = complaint(command).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(line.contains(example), "no {example} in: {line}");
        assert!(
            !line.contains("too short"),
            "the key is in the message: {line}"
        );
    }
}

/// The same for the transcription service.
const BAD_TRANSCRIPTION_SETTINGS: [(&str, &str, &str, &str); 20] = [
    ("S3_BUCKET_NAME", "", "S3_BUCKET_NAME: required", "--help"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "",
        "AWS_SECRET_ACCESS_KEY: required",
        "_FILE=",
    ),
    (
        "AWS_ENDPOINT_URL_S3",
        "localhost:9000",
        "AWS_ENDPOINT_URL_S3: it is no http address",
        "for example AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000",
    ),
    (
        "S3_FORCE_PATH_STYLE",
        "perhaps",
        "S3_FORCE_PATH_STYLE: ",
        "true, false",
    ),
    (
        "TRANSCRIPTION_ENGINE",
        "parrot",
        "TRANSCRIPTION_ENGINE: ",
        "it takes: gemini, whisper",
    ),
    (
        "GEMINI_MODEL",
        "../x",
        "GEMINI_MODEL: it is no name of a model",
        "GEMINI_MODEL=gemini-3.5-transcribe",
    ),
    (
        "AUTH_TOKEN_URL",
        "auth.example.com/token",
        "AUTH_TOKEN_URL: relative URL without a base",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://ada:secret@auth.example.com/token",
        "AUTH_TOKEN_URL: it has a user name or a password",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://*/token",
        "AUTH_TOKEN_URL: its host is no name and no IPv4 address",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://[::1]/token",
        "AUTH_TOKEN_URL: its host is no name and no IPv4 address",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "GEMINI_BASE_URL",
        "ftp://x",
        "GEMINI_BASE_URL: it is no http address",
        "for example GEMINI_BASE_URL=https://generativelanguage.googleapis.com",
    ),
    (
        "GEMINI_API_KEY",
        "a key\nin two lines",
        "GEMINI_API_KEY: it has characters that no key has",
        "Google AI Studio",
    ),
    (
        "MAX_UPLOAD_BYTES",
        "5497558138881",
        "MAX_UPLOAD_BYTES: more than 5497558138880 (5 TiB)",
        "MAX_UPLOAD_BYTES=209715200",
    ),
    (
        "MAX_UPLOAD_BYTES",
        "0",
        "MAX_UPLOAD_BYTES: ",
        "MAX_UPLOAD_BYTES=209715200",
    ),
    (
        "ENGINE_TIMEOUT_SECONDS",
        "0",
        "ENGINE_TIMEOUT_SECONDS: ",
        "ENGINE_TIMEOUT_SECONDS=600",
    ),
    (
        "MAX_CONCURRENT_TRANSCRIPTIONS",
        "0",
        "MAX_CONCURRENT_TRANSCRIPTIONS: ",
        "MAX_CONCURRENT_TRANSCRIPTIONS=32",
    ),
    (
        "MAX_CONCURRENT_PER_USER",
        "0",
        "MAX_CONCURRENT_PER_USER: ",
        "MAX_CONCURRENT_PER_USER=4",
    ),
    (
        "LISTEN_ADDR",
        "8000",
        "LISTEN_ADDR: ",
        "LISTEN_ADDR=0.0.0.0:8000",
    ),
    (
        "JWT_SECRET_KEY",
        "too short",
        "JWT_SECRET_KEY: the key must have at least 32 bytes",
        "make one with",
    ),
    (
        "GEMINI_API_KEY_FILE",
        "missing",
        "GEMINI_API_KEY and GEMINI_API_KEY_FILE are both set",
        "keep one",
    ),
];

#[tokio::test]
async fn a_bad_setting_of_the_transcription_service_is_one_line_too() {
    let folder = TempDir::new().unwrap();
    let start = |name: &str, value: &str| {
        let mut command = Command::new(binary("transcription-service"));
        command
            .env_clear()
            .env("JWT_SECRET_KEY", SIGNING_KEY)
            .env("S3_BUCKET_NAME", "recordings")
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("GEMINI_API_KEY", "key")
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "off")
            .env(name, value)
            .current_dir(folder.path());
        command
    };

    for (name, value, expected, example) in BAD_TRANSCRIPTION_SETTINGS {
        let (line, code) = complaint(start(name, value)).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(line.contains(example), "no {example} in: {line}");
    }
    // What an engine needs and is not there.
    let (line, code) = complaint(start("GEMINI_API_KEY", "")).await;
    assert_eq!(code, 2, "{line}");
    assert!(
        line.starts_with("WHISPER_MODEL: needed by the engine whisper and not set"),
        "{line}"
    );
    let mut command = start("TRANSCRIPTION_ENGINE", "gemini");
    command.env_remove("GEMINI_API_KEY");
    let (line, code) = complaint(command).await;
    assert_eq!(code, 2, "{line}");
    assert!(
        line.starts_with("GEMINI_API_KEY: needed by the engine gemini and not set"),
        "{line}"
    );
}

#[tokio::test]
async fn a_bundle_of_certificates_that_is_none_is_one_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();

    for (file, reason) in [
        ("ca.pem", "holds no certificate"),
        ("missing.pem", "cannot be read"),
    ] {
        let mut command = auth(&folder);
        command.env("CA_BUNDLE_FILE", file);
        let (line, code) = complaint(command).await;
        assert_eq!(code, 2, "{line}");
        assert!(
            line.starts_with(&format!("CA_BUNDLE_FILE: {file} {reason}")),
            "{line}"
        );
        assert!(
            line.contains("CA_BUNDLE_FILE=/") || line.contains("-----BEGIN"),
            "no example: {line}"
        );
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_stops_the_start_only_where_traces_are_sent() {
    let folder = TempDir::new().unwrap();
    let mut command = auth(&folder);
    command
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    let (line, code) = complaint(command).await;

    assert_eq!(code, 2);
    assert!(
        line.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken; for example OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        "{line}"
    );
    Auth::start_with([("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).await;
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ] {
        Auth::start_with([
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
            (name, value),
        ])
        .await;
    }
}

#[tokio::test]
async fn a_value_that_is_not_text_is_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    for (name, example) in [
        ("ALGORITHM", "ALGORITHM=HS256"),
        ("MANAGEMENT_ADDR", "MANAGEMENT_ADDR=[::]:9090"),
        (
            "JWT_SECRET_KEY",
            "JWT_SECRET_KEY_FILE=/run/secrets/jwt_secret_key",
        ),
    ] {
        let mut command = auth(&folder);
        command.env(name, OsStr::from_bytes(b"HS\xff"));

        let (line, code) = complaint(command).await;

        assert_eq!(code, 2);
        assert_eq!(
            line,
            format!("{name}: the value is not UTF-8; for example {example}")
        );
    }
}

#[tokio::test]
async fn a_secret_on_the_command_line_is_refused() {
    let folder = TempDir::new().unwrap();
    for args in [
        &["serve", "--jwt-secret-key", SIGNING_KEY][..],
        &["--jwt-secret-key-previous=0123456789abcdef0123456789abcdef"],
    ] {
        let mut command = auth(&folder);
        command.args(args);

        let (line, code) = complaint(command).await;

        assert_eq!(code, 2);
        assert!(
            line.contains(" is a secret and must not stand on the command line"),
            "{line}"
        );
        assert!(
            !line.contains(SIGNING_KEY) && !line.contains("0123456789abcdef"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn help_names_every_setting_and_version_the_release() {
    let folder = TempDir::new().unwrap();
    let print = |args: &[&str]| {
        let output = auth(&folder).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    // Whatever stands in the file: it may be why help is needed.
    fs::write(folder.path().join(".env"), "A='x").unwrap();
    let help = print(&["serve", "--help"]);
    let of_program = print(&["--help"]);

    for name in names_of_settings() {
        assert!(
            help.contains(&format!("[env: {name}")),
            "{name} is not in:\n{help}"
        );
        assert!(
            of_program.contains(&format!("  {name}\n")),
            "{name} is not in:\n{of_program}"
        );
    }
    for name in [
        "JWT_SECRET_KEY_FILE",
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "HTTPS_PROXY",
        "NO_PROXY",
    ] {
        for help in [&help, &of_program] {
            assert!(help.contains(name), "{name} is not in:\n{help}");
        }
    }
    assert!(!help.contains(SIGNING_KEY), "{help}");
    for command in [
        "serve",
        "user",
        "backup",
        "restore",
        "make-key",
        "healthcheck",
    ] {
        assert!(
            of_program.contains(&format!("  {command} ")),
            "{of_program}"
        );
    }
    assert_eq!(
        print(&["--version"]),
        format!("auth-service {}\n", env!("CARGO_PKG_VERSION"))
    );
}

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
