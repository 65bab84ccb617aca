//! The images of the product and of what it needs around it, built on a Docker Engine from programs that are there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::docker::Docker;
use crate::files::cached;
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
/// How long all of it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Builds our images from the programs in a folder, as `make images` does, and gives what that says.
pub async fn build(docker: &Docker, programs: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images.sh");
    let mut command = Command::new(script);
    docker.name_to(&mut command);
    command.arg(programs);
    let built = run_within(command, "", LIMIT).await;
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    String::from_utf8(built.stdout).unwrap()
}

/// Writes our images, and those that a stack needs around it, into an archive for a node.
pub async fn save(docker: &Docker, programs: &Path, archive: &Path) {
    let folder = TempDir::new().unwrap();
    let context = folder.path();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/Dockerfile");
    let stand_in = programs.join("gemini-stand-in");
    for (from, name) in [
        (recipe, "Dockerfile"),
        (cached("seaweedfs-4.48/weed"), "weed"),
        (stand_in, "gemini-stand-in"),
    ] {
        fs::copy(from, context.join(name)).unwrap();
    }
    for (target, name) in [("seaweedfs", SEAWEEDFS), ("gemini", GEMINI)] {
        let build = ["build", "--quiet", "--target", target, "--tag", name];
        docker
            .run(&[&build[..], &[context.to_str().unwrap()]].concat())
            .await;
    }
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
