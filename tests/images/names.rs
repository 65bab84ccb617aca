//! How the static programs look up the names of hosts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use transcription_lab::docker::{Container, Network};
use transcription_tests::images::{CONFINED, engine, image};
use transcription_tests::process::eventually;
use transcription_tests::stack::SIGNING_KEY;

/// On a desktop that names `myhostname` in /etc/nsswitch.conf, each look-up crashed: glibc loads a library for it, and a static program
/// cannot. So what that file says does not count.
#[tokio::test]
async fn names_are_found_by_dns_whatever_nsswitch_conf_says() {
    let docker = engine().await;
    let network = Network::make(&docker).await;
    let folder = TempDir::new().unwrap();
    let no_dns = folder.path().join("nsswitch.conf");
    fs::write(&no_dns, "hosts: myhostname\n").unwrap();
    fs::set_permissions(&no_dns, Permissions::from_mode(0o644)).unwrap();
    let mount = format!("{}:/etc/nsswitch.conf:ro", no_dns.display());
    let key = format!("JWT_SECRET_KEY={SIGNING_KEY}");
    let own = [
        "--network",
        network.name(),
        "--network-alias",
        "auth",
        "--env",
        &key,
    ];
    let auth = image("auth-service");
    let auth = Container::start(&docker, &[&CONFINED[..], &own, &[&auth]].concat()).await;
    auth.wait_until_healthy().await;
    let service = image("transcription-service");
    let smoke = async |network: &str, host: &str| {
        let url = format!("http://{host}:8001");
        let args = ["--network", network, "--volume", &mount];
        let user = [
            "--env",
            "SMOKE_USERNAME=ada",
            "--env",
            "SMOKE_PASSWORD=wrong",
        ];
        let command = [
            &service,
            "smoke",
            "--auth-url",
            &url,
            "--transcription-url",
            &url,
        ];
        let container =
            Container::start(&docker, &[&CONFINED[..], &args, &user, &command].concat()).await;
        eventually("it has ended", async || {
            docker.inspect(container.name()).await["State"]["Status"] == "exited"
        })
        .await;
        container.log().await
    };

    let by_dns = smoke(network.name(), "auth").await;
    let by_file = smoke("none", "localhost").await;
    let not_at_all = smoke("none", "auth").await;

    assert!(by_dns.contains("401"), "{by_dns}");
    assert!(by_file.contains("Connection refused"), "{by_file}");
    assert!(
        not_at_all.contains("failed to lookup address"),
        "{not_at_all}"
    );
}
