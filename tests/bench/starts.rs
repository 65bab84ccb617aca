//! How soon a service answers, and what it takes at rest.

use std::path::Path;

use transcription_tests::auth::Auth;
use transcription_tests::files::binary;
use transcription_tests::seaweedfs::SeaweedFs;
use transcription_tests::stack::{Environment, transcription_environment};
use transcription_tests::transcription::GEMINI_KEY;

use crate::services::first_answer;
use crate::table::{Goal, Row, median};

const STARTS: usize = 9;

/// Measures.
pub async fn measure() -> Vec<Row> {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.process.terminate().await;
    let s3 = SeaweedFs::start().await;
    let mut of_transcription = transcription_environment(&s3);
    of_transcription.remove("WHISPER_MODEL");
    of_transcription.insert("GEMINI_API_KEY", GEMINI_KEY.to_owned());
    let mut rows = Vec::new();
    for (program, environment, most_mib) in [
        ("auth-service", &auth.environment, 20.0),
        ("transcription-service-slim", &of_transcription, 25.0),
    ] {
        rows.extend(start(program, environment, most_mib).await);
        rows.push(size(program));
    }
    rows
}

async fn start(program: &str, environment: &Environment, most_mib: f64) -> [Row; 2] {
    let (mut took, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (duration, mib) = first_answer(program, environment).await;
        took.push(duration.as_secs_f64() * 1e3);
        memory.push(mib);
    }
    let row = |what: &str, figures: Vec<f64>, most, unit| Row {
        case: format!("{program}: {what}"),
        ours: "–".to_owned(),
        against: "–".to_owned(),
        figure: median(figures),
        goal: Goal::AtMost(most),
        unit,
    };
    [
        row("start to the first 200", took, 100.0, " ms"),
        row("memory at rest", memory, most_mib, " MiB"),
    ]
}

/// What an image has in it: the program and the certificates, and nothing else. `make e2e` weighs the images themselves.
fn size(program: &str) -> Row {
    let of_file = |path: &Path| std::fs::metadata(path).unwrap().len();
    let certificates = std::fs::read_dir("/usr/share/ca-certificates/mozilla").unwrap();
    let certificates = certificates.map(|file| of_file(&file.unwrap().path()));
    let bytes = of_file(&binary(program)) + certificates.sum::<u64>();
    Row {
        case: format!("{program}: image"),
        ours: "the program and the certificates".to_owned(),
        against: "–".to_owned(),
        figure: f64::from(u32::try_from(bytes).unwrap()) / 1e6,
        goal: Goal::AtMost(30.0),
        unit: " MB",
    }
}
