//! The container images, on a Docker Engine.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;
use transcription_lab::docker::Docker;
pub use transcription_lab::images::{OURS as ALL, name as image};
use transcription_lab::images::{Programs, build};

use crate::files::{binary, slim_binary};

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
pub fn programs() -> Programs {
    let folder = |program: PathBuf| program.parent().unwrap().to_owned();
    Programs {
        all: folder(binary("auth-service")),
        slim: folder(slim_binary()),
    }
}
