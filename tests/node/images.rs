//! The images on the node.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use transcription_lab::kubernetes::Node;
use transcription_tests::files::{binary, cached};
use transcription_tests::images::{self, engine, image};

/// Brings all images to the node, under the names that users pull them by.
pub async fn bring(node: &Node) {
    let docker = engine().await;
    let folder = TempDir::new().unwrap();
    let context = folder.path();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/Dockerfile");
    fs::copy(recipe, context.join("Dockerfile")).unwrap();
    fs::copy(cached("seaweedfs-4.48/weed"), context.join("weed")).unwrap();
    fs::copy(binary("gemini-stand-in"), context.join("gemini-stand-in")).unwrap();
    let of_the_lab = [
        ("seaweedfs", "chrislusf/seaweedfs:4.48"),
        ("gemini", "lab/gemini-stand-in:1"),
    ];
    for (target, name) in of_the_lab {
        let context = context.to_str().unwrap();
        let arguments = [
            "build", "--quiet", "--target", target, "--tag", name, context,
        ];
        docker.run(&arguments).await;
    }
    let ours = images::ALL.map(image);
    let names = ours.iter().map(String::as_str);
    let names = names.chain(of_the_lab.map(|(_, name)| name));
    let tar = context.join("images.tar");
    let mut arguments = vec!["save", "--output", tar.to_str().unwrap()];
    arguments.extend(names);
    docker.run(&arguments).await;
    node.import_image(&tar).await;
}
