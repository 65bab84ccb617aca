//! The images on the node.

use tempfile::TempDir;
use transcription_lab::images;
use transcription_lab::kubernetes::Node;
use transcription_tests::images::{ALL, engine, image, programs};

/// The release that the charts are upgraded from: the same programs under its tag.
pub const FORMER: &str = "0.0.9";

/// Brings all images to the node, under the names that users pull them by.
pub async fn bring(node: &Node) {
    let docker = engine().await;
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("images.tar");
    images::save(&docker, &programs(), &archive).await;
    node.import_image(&archive).await;
}

/// Gives our images on the node the tag of the former release too.
pub async fn tag_as_former(node: &Node) {
    for target in ALL {
        let name = image(target);
        let version = format!(":{}", env!("CARGO_PKG_VERSION"));
        let former = name.replace(&version, &format!(":{FORMER}"));
        assert_ne!(name, former);
        node.tag_image(&name, &former).await;
    }
}
