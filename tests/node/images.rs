//! The images on the node.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use tempfile::TempDir;
use tokio::sync::OnceCell;
use transcription_lab::images;
use transcription_lab::kubernetes::Node;
use transcription_tests::images::{engine, programs};

/// Brings all images to the node, under the names that users pull them by.
pub async fn bring(node: &Node) {
    // Built once for all tests of this program, whose nodes come one after another.
    static ARCHIVE: OnceCell<File> = OnceCell::const_new();
    let archive = ARCHIVE.get_or_init(archive).await;
    let path = format!("/proc/{}/fd/{}", std::process::id(), archive.as_raw_fd());
    node.import_image(Path::new(&path)).await;
}

/// All images in a file without a name, which goes with this program.
async fn archive() -> File {
    let docker = engine().await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("images.tar");
    images::save(&docker, &programs(), &path).await;
    File::open(path).unwrap()
}
