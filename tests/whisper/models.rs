//! Which models are taken, and which program has an engine at all.

use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::multipart::{Form, Part};
use tempfile::TempDir;
use transcription_tests::files::{binary, cached, root};
use transcription_tests::process::run;
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::stack::model;
use transcription_tests::transcription::Transcription;

/// A copy of a model, changed.
fn copy_of(good: &Path, change: impl FnOnce(&Path)) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in fs::read_dir(good).unwrap() {
        let file = file.unwrap();
        if file.metadata().unwrap().is_file() {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    change(folder.path());
    folder
}

#[tokio::test]
async fn a_wrong_or_half_copied_model_stops_the_start_with_a_sentence() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let good = model("tiny.en");
    let good = Path::new(&good);
    let without = |name: &str| copy_of(good, |folder| fs::remove_file(folder.join(name)).unwrap());
    let written = |name: &str, content: &str| {
        copy_of(good, |folder| {
            fs::write(folder.join(name), content).unwrap();
        })
    };
    let cut = copy_of(good, |folder| {
        let file = fs::File::options()
            .write(true)
            .open(folder.join("model.bin"))
            .unwrap();
        file.set_len(40_000_000).unwrap();
    });
    let pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:1a5afae0\nsize 75537500\n";
    let base = model("base");
    let other_tokenizer = copy_of(good, |folder| {
        let tokenizer = Path::new(&base).join("tokenizer.json");
        fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
    });
    let cases = [
        (without("model.bin"), "the file model.bin is missing"),
        (without("config.json"), "the file config.json is missing"),
        (
            without("tokenizer.json"),
            "the file tokenizer.json is missing",
        ),
        (
            written("config.json", "{}"),
            "config.json: it is not CTranslate2's",
        ),
        // Hugging Face's file of this name.
        (
            written(
                "config.json",
                r#"{"model_type": "whisper", "suppress_tokens": [1, 2], "begin_suppress_tokens": [220, 50256]}"#,
            ),
            "config.json: it is not CTranslate2's",
        ),
        (
            written(
                "config.json",
                r#"{"suppress_ids": [1, 51864], "suppress_ids_begin": [220], "lang_ids": []}"#,
            ),
            "names tokens that the vocabulary does not have",
        ),
        (
            without("vocabulary.txt"),
            "neither vocabulary.json nor vocabulary.txt",
        ),
        (
            written("model.bin", ""),
            "the file model.bin is missing or empty",
        ),
        (written("model.bin", pointer), "cannot be loaded"),
        (
            written("tokenizer.json", "{}"),
            "tokenizer.json cannot be read",
        ),
        (written("vocabulary.txt", "a\nb\n"), "another model"),
        (other_tokenizer, "another model"),
        (cut, "cannot be loaded"),
    ];
    for (folder, says) in cases {
        let mut command = stack.command(&["serve"]);
        command
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("WHISPER_MODEL", folder.path());
        let output = run(command, "").await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{says}");
        let line = error.trim_end();
        println!("{line}");
        assert!(line.contains(says), "{says}: {line}");
        assert!(line.contains("WHISPER_MODEL"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

/// It has only numbers that all Whisper models have in common, and not every model comes with it.
#[tokio::test]
async fn a_model_is_whole_with_and_without_its_preprocessor_config() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let good = model("tiny.en");
    let name = "preprocessor_config.json";
    assert!(!Path::new(&good).join(name).exists());
    let named = copy_of(Path::new(&good), |folder| {
        fs::write(folder.join(name), r#"{"feature_size": 80}"#).unwrap();
    });

    let path = named.path().display().to_string();
    let (_service, url, _folder) = Transcription::start_on(&stack, "WHISPER_MODEL", &path).await;

    let clip = librivox().swap_remove(4);
    let form = || Form::new().part("file", Part::bytes(clip.wav.clone()).file_name("a.wav"));
    let with = stack.send_to(&url, "1", form()).await;
    let without = stack.send("1", form()).await;
    assert_eq!(with.status, 200, "{with:?}");
    assert_eq!(without.status, 200, "{without:?}");
    for answer in [with, without] {
        let text = answer.json["transcription"].as_str().unwrap();
        assert!(word_errors(text, &clip.words) <= 1, "{text}");
    }
}

/// Large models do not fit into a test; this one has their layout and knows nothing.
#[tokio::test]
async fn a_model_with_128_bands_and_a_hundred_languages_is_taken_for_what_it_is() {
    let stack = Transcription::start_whisper("base", []).await;
    let folder = TempDir::new().unwrap();
    let script = root().join("tests/lab/layout_model.py");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", cached("faster-whisper-1.2.1"))
        .arg(script)
        .arg(model("base"))
        .arg(folder.path().join("large"));
    let made = run(command, "").await;
    assert!(made.status.success(), "{made:?}");
    let path = folder.path().join("large").display().to_string();
    let (_service, url, _folder) = Transcription::start_on(&stack, "WHISPER_MODEL", &path).await;
    let clip = librivox().swap_remove(4);
    let send = async |url: &str, language: Option<&'static str>| {
        let file = Part::bytes(clip.wav.clone()).file_name("a.wav");
        let mut form = Form::new().part("file", file);
        if let Some(language) = language {
            form = form.text("language", language);
        }
        stack.send_to(url, "1", form).await
    };

    let found = send(&url, None).await;
    let cantonese = send(&url, Some("yue")).await;
    let of_base = send(&stack.url, Some("yue")).await;

    assert_eq!(found.status, 200, "{found:?}");
    assert_eq!(found.json["model"], "large");
    assert_eq!(cantonese.status, 200, "{cantonese:?}");
    of_base.assert_problem(422, "invalid_field");
}

#[tokio::test]
async fn the_slim_binary_has_no_whisper_and_no_cpp_in_it() {
    let has = |program: &Path, name: &str| {
        let bytes = fs::read(program).unwrap();
        bytes
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    };
    let (whole, slim) = (
        binary("transcription-service"),
        binary("transcription-service-slim"),
    );

    // What stays of C++ in a program without symbols: names of types, and words of its library.
    for name in ["ctranslate2", "basic_string::append", "std::bad_alloc"] {
        assert!(has(&whole, name), "{name}");
        assert!(!has(&slim, name), "{name}");
    }

    let stack = Transcription::start_whisper("tiny.en", []).await;
    let mut command = Command::new(&slim);
    command
        .env_clear()
        .envs(&stack.environment)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .arg("serve");
    let output = run(command, "").await;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("built without Whisper"), "{error}");
}
