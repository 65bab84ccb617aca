//! A Docker Engine with Compose, with the programs that our images are built from, and with the images around them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Weak};

use tempfile::TempDir;
use tokio::sync::Mutex;
use transcription_lab::docker::Docker;
use transcription_lab::images::{
    BUSYBOX, GEMINI, PROMETHEUS, SEAWEEDFS, build_around, build_builder,
};
use transcription_tests::files::cached;
use transcription_tests::images::programs;

/// The engine, and how Compose is called on it.
pub struct Engine {
    pub docker: Arc<Docker>,
    /// The image with the programs, instead of one with a compiler.
    pub builder: String,
    /// The client's folder, in which it finds Compose.
    pub client: TempDir,
}

/// The engine that the tests of this program share. It ends with the last one that holds it.
pub async fn engine() -> Arc<Engine> {
    static SHARED: Mutex<Weak<Engine>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(engine) = shared.upgrade() {
        return engine;
    }
    let engine = Arc::new(Engine::start().await);
    *shared = Arc::downgrade(&engine);
    engine
}

impl Engine {
    async fn start() -> Self {
        let docker = Arc::new(Docker::start().await);
        let programs = programs();
        let builder = format!(
            "transcription-stack-programs:compose-{}",
            std::process::id()
        );
        build_builder(&docker, &programs, &builder).await;
        let around = [
            ("seaweedfs", SEAWEEDFS),
            ("gemini", GEMINI),
            ("prometheus", PROMETHEUS),
            ("busybox", BUSYBOX),
        ];
        build_around(&docker, &programs, &around).await;
        let client = TempDir::new().unwrap();
        let plugins = client.path().join("cli-plugins");
        fs::create_dir(&plugins).unwrap();
        let compose = cached("compose-2.40.3/docker-compose");
        symlink(compose, plugins.join("docker-compose")).unwrap();
        Self {
            docker,
            builder,
            client,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // On an engine that others use too, what has a public name and is the lab's must not be taken for the real one.
        let made = [&self.builder, SEAWEEDFS, GEMINI, PROMETHEUS, BUSYBOX];
        let mut remove = self
            .docker
            .command(&[&["image", "rm", "--force"][..], &made].concat());
        let _ = remove.output();
    }
}
