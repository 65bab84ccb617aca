//! Files that code generates are what the code generates now.

use std::fs;

use transcription_tests::auth::Auth;
use transcription_tests::generated;
use transcription_tests::process::free_port;
use transcription_tests::stack::SIGNING_KEY;

#[test]
fn generated_files_are_up_to_date() {
    for (path, text) in generated::files() {
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not what the code says: run `make generate`",
            path.display()
        );
    }
}

#[tokio::test]
async fn the_example_with_a_key_starts_the_service_as_its_env_file() {
    let mut auth = Auth::start().await;
    auth.process.terminate().await;
    let (_, example) = generated::files().remove(0);
    let filled = example.replace(
        "JWT_SECRET_KEY=\"\"",
        &format!("JWT_SECRET_KEY=\"{SIGNING_KEY}\""),
    );
    assert_ne!(example, filled);
    // With all that is commented out, too: the defaults are values that are taken.
    let all = filled
        .replace("\n#", "\n")
        .lines()
        .filter(|line| line.contains("=\""))
        .collect::<Vec<_>>()
        .join("\n");
    for text in [filled, all] {
        fs::write(auth.folder.path().join(".env"), text).unwrap();
        // A free one: the example's may be another program's here.
        let management = format!("127.0.0.1:{}", free_port());
        auth.restart([("JWT_SECRET_KEY", ""), ("MANAGEMENT_ADDR", &management)])
            .await;
        auth.process.terminate().await;
    }
}
