//! The container images, on a Docker Engine.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;
use transcription_lab::docker::Docker;

use crate::files::{binary, slim_binary};
use crate::process::run;

/// The transcription service that carries Whisper and its model.
pub const WHISPER: &str = "transcription-service-whisper";
/// All images, by the targets of the Dockerfile.
pub const ALL: [&str; 4] = [
    "auth-service",
    "transcription-service",
    "transcription-operator",
    WHISPER,
];
/// How a container is started that may do nothing: what the image needs, it has to bring along.
pub const CONFINED: [&str; 5] = [
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
];

/// The engine with our images in it, which the tests of a program share. It ends with the last test that holds it.
pub async fn engine() -> Arc<Docker> {
    static SHARED: Mutex<Weak<Docker>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(docker) = shared.upgrade() {
        return docker;
    }
    let docker = Arc::new(Docker::start().await);
    build(&docker).await;
    *shared = Arc::downgrade(&docker);
    docker
}

/// Builds the images, as `make images` does.
pub async fn build(docker: &Docker) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/images.sh");
    let mut command = Command::new(script);
    docker.name_to(&mut command);
    command
        .arg(binary("auth-service").parent().unwrap())
        .arg(slim_binary().parent().unwrap());
    let built = run(command, "").await;
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    println!("{}", String::from_utf8_lossy(&built.stdout));
}

/// The name of an image, with its version.
pub fn image(target: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match target.strip_suffix("-whisper") {
        Some(name) => format!("ghcr.io/transcription-stack/{name}:{version}-whisper"),
        None => format!("ghcr.io/transcription-stack/{target}:{version}"),
    }
}
