//! The images of the product and of what it needs around it, built on a Docker Engine from programs that are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::docker::Docker;
use crate::files::{cached, root};
use crate::process::run_within;

/// All images of ours, by the targets of the Dockerfile.
pub const OURS: [&str; 4] = [
    "auth-service",
    "transcription-service",
    "transcription-operator",
    "transcription-service-whisper",
];
/// The S3 store of the samples, under its public name.
pub const SEAWEEDFS: &str = "chrislusf/seaweedfs:4.48";
/// The stand-in for Google.
pub const GEMINI: &str = "lab/gemini-stand-in:1";
/// What `docker-compose.yml` watches the stack with, under its public name: Debian's.
pub const PROMETHEUS: &str = "prom/prometheus:v3.13.1";
/// What the README gives files to another user with.
pub const BUSYBOX: &str = "busybox";
/// How long all of it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Builds our images from the programs in a folder, as `make images` does, and gives what that says.
pub async fn build(docker: &Docker, programs: &Path) -> String {
    run_script(docker, programs, None).await
}

/// Makes the image with the programs, from which all of ours can be built, and gives it a name.
pub async fn build_builder(docker: &Docker, programs: &Path, name: &str) {
    run_script(docker, programs, Some(name)).await;
}

async fn run_script(docker: &Docker, programs: &Path, builder: Option<&str>) -> String {
    let script = root().join("tests/lab/images.sh");
    let mut command = Command::new(script);
    docker.name_to(&mut command);
    command.arg(programs);
    command.env_remove("BUILDER");
    command.envs(builder.map(|name| ("BUILDER", name)));
    let built = run_within(command, "", LIMIT).await;
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    String::from_utf8(built.stdout).unwrap()
}

/// Builds what is around a stack: stages of the lab's Dockerfile, and the names that they get.
pub async fn build_around(docker: &Docker, programs: &Path, images: &[(&str, &str)]) {
    let recipe = root().join("tests/lab/images/Dockerfile");
    let recipe = fs::read_to_string(recipe).unwrap();
    for (stage, name) in images {
        let folder = TempDir::new().unwrap();
        let context = folder.path();
        // This stage alone: an older builder goes through all that are before it.
        let mut stages = recipe.split("\n\n");
        let begin = format!("FROM scratch AS {stage}\n");
        let stage_of_recipe = stages.find(|text| text.contains(&begin)).unwrap();
        fs::write(context.join("Dockerfile"), stage_of_recipe).unwrap();
        fs::create_dir(context.join("empty")).unwrap();
        for file in around(stage, programs) {
            let copy = context.join(file.file_name().unwrap());
            fs::copy(file, copy).unwrap();
        }
        let context = context.to_str().unwrap();
        docker
            .run(&["build", "--quiet", "--tag", name, context])
            .await;
    }
}

/// The files that a stage is made of.
fn around(stage: &str, programs: &Path) -> Vec<PathBuf> {
    let busybox = || cached("busybox-static/bin/busybox");
    match stage {
        "seaweedfs" => vec![cached("seaweedfs-4.48/weed"), busybox()],
        "gemini" => vec![programs.join("gemini-stand-in")],
        "prometheus" => vec![
            cached("prometheus/usr/bin/prometheus"),
            PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"),
            PathBuf::from("/lib64/ld-linux-x86-64.so.2"),
            busybox(),
        ],
        "busybox" => vec![busybox()],
        _ => panic!("there is no stage {stage}"),
    }
}

/// Writes our images and those that a stack needs around it into an archive, for a node.
pub async fn save(docker: &Docker, programs: &Path, archive: &Path) {
    build_around(
        docker,
        programs,
        &[("seaweedfs", SEAWEEDFS), ("gemini", GEMINI)],
    )
    .await;
    let ours = OURS.map(name);
    let names = ours.iter().map(String::as_str).chain([SEAWEEDFS, GEMINI]);
    let mut save = vec!["save", "--output", archive.to_str().unwrap()];
    save.extend(names);
    docker.run(&save).await;
}

/// The name of an image of ours, with its version.
pub fn name(target: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match target.strip_suffix("-whisper") {
        Some(name) => format!("ghcr.io/transcription-stack/{name}:{version}-whisper"),
        None => format!("ghcr.io/transcription-stack/{target}:{version}"),
    }
}
