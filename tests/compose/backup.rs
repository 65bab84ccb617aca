//! Users come back from a backup, and the signing key is saved: the commands of docs/backup.md, as they stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use transcription_tests::auth::credentials;
use transcription_tests::client::{Answer, http, post};

use crate::project::Project;
use crate::readme::blocks_of;

/// The password of the README.
const PASSWORD: &str = "correct horse";

/// Of a project that has a user `ada`, with this token. Nothing is another afterwards.
pub async fn saved_and_restored(project: &Project, token: &str) {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let [save, restore] = blocks_of("docs/backup.md", "With compose")
        .try_into()
        .unwrap();
    // Compose reads its file in the folder of the project, where the tests leave nothing.
    let there = |commands: &str| {
        let database = file("auth.db").display().to_string();
        let key = file("jwt.key").display().to_string();
        let commands = commands.replace(">auth.db", &format!(">{database}"));
        let commands = commands.replace("<auth.db", &format!("<{database}"));
        commands.replace(" jwt.key", &format!(" {key}"))
    };

    project.succeed(&there(&save)).await;
    for name in ["auth.db", "jwt.key"] {
        let mode = fs::metadata(file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    assert!(fs::read_to_string(file("jwt.key")).unwrap().trim().len() >= 32);
    let add = format!(
        "echo '{PASSWORD}' | docker compose exec -T auth auth-service user add late late@example.com"
    );
    project.succeed(&add).await;
    assert_eq!(log_in(project, "late").await.status, 200);

    // Beside the server it is refused, and a file that was cut off is too.
    let beside = restore.lines().nth(1).unwrap();
    let refused = project.run(&there(beside)).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("is served by another process"),
        "{said}"
    );
    let whole = fs::read(file("auth.db")).unwrap();
    fs::write(file("auth.db"), &whole[..whole.len() / 2]).unwrap();
    let cut = there(&restore).replace("docker compose start", "exit 0; docker compose start");
    let refused = project.run(&cut).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("is not restored"),
        "{said}"
    );
    fs::write(file("auth.db"), whole).unwrap();

    let said = project.succeed(&there(&restore)).await;

    assert!(said.contains("Restored 1 users"), "{said}");
    project
        .succeed("docker compose up --detach --wait --no-build --no-recreate auth")
        .await;
    let late = log_in(project, "late").await;
    late.assert_problem(401, "bad_credentials");
    let url = format!("{}/me", project.url("AUTH_PORT"));
    let me = Answer::of(http().get(url).bearer_auth(token).send().await.unwrap()).await;
    assert_eq!(me.json["username"], "ada", "{me:?}");
}

async fn log_in(project: &Project, name: &str) -> Answer {
    let url = format!("{}/login", project.url("AUTH_PORT"));
    post(&http(), &url, &credentials(name, PASSWORD)).await
}
