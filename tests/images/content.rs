//! What is in the images, and what they say of themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use transcription_lab::docker::{Container, Docker};
use transcription_tests::images::{ALL, WHISPER, engine, image};
use transcription_tests::process::run;

/// The most that an image may take, but for the one with a model.
const MOST_BYTES: i64 = 30_000_000;
/// What is in every image: who may what, whose it is, what.
const IN_ALL: &str = "
drwxr-xr-x 0/0 app/
drwxr-xr-x 0/0 etc/
-rw-r--r-- 0/0 etc/group
-rw-r--r-- 0/0 etc/passwd
drwxr-xr-x 0/0 etc/ssl/
drwxr-xr-x 0/0 etc/ssl/certs/
-rw-r--r-- 0/0 etc/ssl/certs/ca-certificates.crt
drwxr-xr-x 0/0 licenses/
-rw-r--r-- 0/0 licenses/LICENSE
drwxr-xr-x 0/0 usr/
drwxr-xr-x 0/0 usr/local/
drwxr-xr-x 0/0 usr/local/bin/
";
const IN_WHISPER: &str = "
drwxr-xr-x 0/0 models/
drwxr-xr-x 0/0 models/base/
-rw-r--r-- 0/0 models/base/LICENSE
-rw-r--r-- 0/0 models/base/config.json
-rw-r--r-- 0/0 models/base/model.bin
-rw-r--r-- 0/0 models/base/tokenizer.json
-rw-r--r-- 0/0 models/base/vocabulary.json
";
/// What Docker puts into every container.
const OF_DOCKER: [&str; 11] = [
    ".dockerenv",
    "dev/",
    "dev/console",
    "dev/pts/",
    "dev/shm/",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc/",
    "sys/",
];

#[tokio::test]
async fn an_image_holds_what_its_program_needs_and_nothing_else() {
    let docker = engine().await;
    let folder = TempDir::new().unwrap();

    for target in ALL {
        let listed = unpack(&docker, target, folder.path()).await;
        let program = format!("-rwxr-xr-x 0/0 usr/local/bin/{}", program(target));
        let mut wanted = IN_ALL
            .lines()
            .chain([program.as_str()])
            .collect::<BTreeSet<_>>();
        match target {
            "auth-service" => wanted.extend(["drwxr-xr-x 65532/65532 app/data/"]),
            WHISPER => wanted.extend(IN_WHISPER.lines()),
            _ => {}
        }
        wanted.remove("");
        let found = listed.iter().map(String::as_str).collect::<BTreeSet<_>>();
        assert_eq!(found, wanted, "{target}");

        let read = |path: &str| fs::read_to_string(folder.path().join(target).join(path)).unwrap();
        let authorities = read("etc/ssl/certs/ca-certificates.crt");
        assert!(
            authorities.matches("BEGIN CERTIFICATE").count() > 100,
            "{target}"
        );
        assert!(
            authorities.ends_with("-----END CERTIFICATE-----\n"),
            "{target}"
        );
        assert!(
            read("licenses/LICENSE").contains("Apache License"),
            "{target}"
        );
        if target == WHISPER {
            assert!(read("models/base/LICENSE").contains("MIT License"));
        }
    }
}

#[tokio::test]
async fn an_image_is_small() {
    let docker = engine().await;

    for target in ALL {
        let size_bytes = docker.inspect(&image(target)).await["Size"]
            .as_i64()
            .unwrap();
        println!("{target}: {size_bytes} bytes");
        assert!(
            size_bytes <= MOST_BYTES || target == WHISPER,
            "{target}: {size_bytes}"
        );
    }
}

#[tokio::test]
async fn an_image_says_what_it_is_and_how_it_runs() {
    let docker = engine().await;

    for target in ALL {
        let config = &docker.inspect(&image(target)).await["Config"];
        let label = |name: &str| &config["Labels"][format!("org.opencontainers.image.{name}")];
        assert_eq!(*label("title"), program(target));
        assert!(
            label("description").as_str().unwrap().len() > 30,
            "{config}"
        );
        assert_eq!(*label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(
            *label("revision"),
            option_env!("BUILD_REVISION").unwrap_or("unknown")
        );
        assert!(
            label("source").as_str().unwrap().starts_with("https://"),
            "{config}"
        );
        let licences = if target == WHISPER {
            "Apache-2.0 AND MIT"
        } else {
            "Apache-2.0"
        };
        assert_eq!(*label("licenses"), licences);

        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["WorkingDir"], "/app");
        assert_eq!(config["Entrypoint"], json!([program(target)]));
        let check = &config["Healthcheck"]["Test"];
        assert_eq!(*check, json!(["CMD", program(target), "healthcheck"]));
        let ports = config["ExposedPorts"].as_object().unwrap();
        let port = match target {
            "auth-service" => "8001/tcp",
            "transcription-operator" => "9090/tcp",
            _ => "8000/tcp",
        };
        assert_eq!(ports.keys().collect::<Vec<_>>(), [port], "{target}");
        let volumes = if target == "auth-service" {
            json!({"/app/data": {}})
        } else {
            Value::Null
        };
        assert_eq!(config["Volumes"], volumes, "{target}");
    }
}

/// Unpacks the file system of an image into a folder of its own; what is in it, but for what Docker adds.
async fn unpack(docker: &Arc<Docker>, target: &str, folder: &Path) -> Vec<String> {
    let container = Container::create(docker, &[&image(target)]).await;
    let archive = folder.join(format!("{target}.tar"));
    let unpacked = folder.join(target);
    fs::create_dir(&unpacked).unwrap();
    docker
        .run(&[
            "export",
            "--output",
            archive.to_str().unwrap(),
            container.name(),
        ])
        .await;
    let mut tar = Command::new("tar");
    tar.args([
        "--extract",
        "--verbose",
        "--verbose",
        "--numeric-owner",
        "--no-same-owner",
        "--file",
    ])
    .arg(&archive)
    .arg("--directory")
    .arg(&unpacked);
    let listed = run(tar, "").await;
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    // -rw-r--r-- 0/0 11358 2026-11-24 05:22 licenses/LICENSE
    let lines = listed.lines().filter_map(|line| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let [mode, owner, _, _, _, path, ..] = fields[..] else {
            panic!("{line}");
        };
        (!OF_DOCKER.contains(&path)).then(|| format!("{mode} {owner} {path}"))
    });
    lines.collect()
}

/// The program in an image.
fn program(target: &str) -> &str {
    target.trim_end_matches("-whisper")
}
