//! The image of the operator, without a cluster.

use transcription_tests::images::{CONFINED, engine, image};

#[tokio::test]
async fn the_operator_prints_its_custom_resource() {
    let docker = engine().await;
    let image = image("transcription-operator");
    let ask = async |argument: &str| {
        let args = ["run", "--rm", "--network", "none"];
        docker
            .run(&[&args, &CONFINED[..], &[&image, argument]].concat())
            .await
    };

    let version = ask("--version").await;
    let resource = ask("crd").await;

    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert!(
        resource.contains("name: transcriptionstacks.transcription.dev"),
        "{resource}"
    );
}
