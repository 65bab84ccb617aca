//! What is in the charts and made of something else is what it is made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use transcription_tests::charts::{CHARTS, copy, folder, read};
use transcription_tests::files::root;
use transcription_tests::process::run;

/// What `charts/generate.sh` reads or writes.
const READ: [&str; 3] = ["charts", "k8s", "LICENSE"];

#[tokio::test]
async fn the_copies_and_the_pages_of_the_charts_are_up_to_date() {
    let place = tempfile::tempdir().unwrap();
    for part in READ {
        let mut command = Command::new("cp");
        command.arg("-R").arg(root().join(part)).arg(place.path());
        assert!(run(command, "").await.status.success());
    }
    let charts = place.path().join("charts");
    // So that none is only left over.
    for chart in CHARTS {
        fs::remove_file(charts.join(chart).join("README.md")).unwrap();
        fs::remove_file(charts.join(chart).join("LICENSE")).unwrap();
        fs::remove_dir_all(charts.join(chart).join("files")).unwrap();
    }

    copy(&charts).await;

    let (made, found) = (files(&charts), files(&root().join("charts")));
    assert_eq!(made, found);
    for file in made {
        let (made, found) = (charts.join(&file), root().join("charts").join(&file));
        assert!(
            fs::read(made).unwrap() == fs::read(&found).unwrap(),
            "{} is not what it is made of: run `make generate`",
            found.display()
        );
    }
}

#[test]
fn each_chart_is_of_this_release() {
    let release = env!("CARGO_PKG_VERSION");
    for chart in CHARTS {
        let definition = read(&folder(chart).join("Chart.yaml"));
        let images = definition["annotations"]["artifacthub.io/images"].as_str();
        let images = serde_saphyr::from_str::<Value>(images.unwrap()).unwrap();

        assert_eq!(definition["appVersion"], release, "{chart}");
        let images = images.as_array().unwrap();
        assert!(!images.is_empty(), "{chart}");
        for image in images {
            let image = image["image"].as_str().unwrap();
            let (_, tag) = image.rsplit_once(':').unwrap();
            assert!(
                tag == release || tag == format!("{release}-whisper"),
                "{image}"
            );
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}
