//! What Compose makes of docker-compose.yml.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::old_backend::write_files;
use crate::project::Project;
use transcription_tests::files::root;

const DEFAULTS: [&str; 4] = [
    "compose/auth.base.env",
    "compose/auth.env",
    "compose/transcription.base.env",
    "compose/transcription.env",
];

async fn services(project: &Project) -> Value {
    let printed = project.succeed("docker compose config --format json").await;
    serde_json::from_str::<Value>(&printed).unwrap()["services"].take()
}

#[tokio::test]
async fn the_old_backends_own_files_leave_nothing_of_the_defaults_that_they_replace() {
    let mut project = Project::new("old-config").await;
    let folder = TempDir::new().unwrap();
    let published = "JWT_SECRET_KEY=\"your-super-secret-and-long-random-string-for-jwt\"";
    write_files(folder.path(), published);
    let file = |service: &str| {
        folder
            .path()
            .join(service)
            .join(".env")
            .display()
            .to_string()
    };
    project.environment.extend([
        ("AUTH_ENV_FILE", file("auth_service")),
        ("TRANSCRIPTION_ENV_FILE", file("audio_transcription")),
    ]);

    let services = services(&project).await;

    let of_transcription = &services["transcription"]["environment"];
    assert_eq!(of_transcription["S3_BUCKET_NAME"], "old-recordings");
    for (service, name) in [
        ("auth", "JWT_SECRET_KEY_FILE"),
        ("transcription", "JWT_SECRET_KEY_FILE"),
        ("transcription", "AWS_ENDPOINT_URL_S3"),
        ("transcription", "S3_FORCE_PATH_STYLE"),
        ("transcription", "TRANSCRIPTION_ENGINE"),
    ] {
        assert_eq!(
            services[service]["environment"][name],
            Value::Null,
            "{name}"
        );
    }
    for service in ["store", "bucket"] {
        let of_store = &services[service]["environment"];
        assert_eq!(of_store["AWS_ACCESS_KEY_ID"], "local", "{of_store}");
        assert!(!of_store.to_string().contains("OLDBACKEND"), "{of_store}");
    }
}

#[tokio::test]
async fn the_profile_watches_and_traces_and_without_it_nothing_does() {
    let mut project = Project::new("profile").await;
    let endpoint = |services: &Value, service: &str| {
        services[service]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"].clone()
    };

    let without = services(&project).await;
    project
        .environment
        .insert("COMPOSE_PROFILES", "observability".to_owned());
    let with = services(&project).await;

    for service in ["auth", "transcription"] {
        assert_eq!(endpoint(&without, service), "");
        assert_eq!(endpoint(&with, service), "http://jaeger:4318");
    }
    for service in ["prometheus", "grafana", "jaeger"] {
        assert_eq!(without[service], Value::Null);
        let image = with[service]["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap();
        assert!(tag.contains('.'), "{image} is of no certain version");
        let ports = with[service]["ports"].as_array().unwrap();
        assert_eq!(ports[0]["host_ip"], "127.0.0.1", "{service}");
        assert_eq!(with[service]["read_only"], true, "{service}");
        for mount in with[service]["volumes"].as_array().into_iter().flatten() {
            let source = Path::new(mount["source"].as_str().unwrap());
            assert!(mount["type"] == "volume" || source.exists(), "{source:?}");
        }
    }
    let of_grafana = &with["grafana"]["environment"];
    assert_eq!(of_grafana["GF_AUTH_ANONYMOUS_ENABLED"], "true");
    assert_eq!(of_grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"], "Viewer");
}

#[test]
fn the_default_files_have_settings_that_there_are() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    for file in DEFAULTS {
        let service = file.trim_start_matches("compose/").split('.').next();
        let known = read(&format!("services/{}/.env.example", service.unwrap()));
        let known = known.lines().filter_map(|line| line.split_once('='));
        let known = known.map(|(name, _)| name.trim_start_matches('#'));
        let known = known.collect::<BTreeSet<_>>();
        for line in read(file).lines() {
            let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let name = name.strip_suffix("_FILE").unwrap_or(name);
            assert!(known.contains(name), "{file}: {name}");
        }
    }
}
