//! The images on the node.

use tempfile::TempDir;
use transcription_lab::images;
use transcription_lab::kubernetes::Node;
use transcription_tests::images::{engine, programs};

/// Brings all images to the node, under the names that users pull them by.
pub async fn bring(node: &Node) {
    let docker = engine().await;
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("images.tar");
    images::save(&docker, &programs(), &archive).await;
    node.import_image(&archive).await;
}
