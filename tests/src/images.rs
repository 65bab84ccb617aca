//! The container images, on a Docker Engine.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;
use transcription_lab::docker::Docker;
use transcription_lab::images::build;
pub use transcription_lab::images::{OURS as ALL, name as image};

use crate::files::binary;

/// The transcription service that carries Whisper and its model.
pub const WHISPER: &str = "transcription-service-whisper";
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
    println!("{}", build(&docker, &programs()).await);
    *shared = Arc::downgrade(&docker);
    docker
}

/// Where this program's neighbours are.
pub fn programs() -> PathBuf {
    binary("auth-service").parent().unwrap().to_owned()
}
