//! Whisper: what it makes of silence, which models it takes, and how recordings wait for it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use tempfile::TempDir;
use tokio::time::sleep;
use transcription_tests::files::{binary, slim_binary};
use transcription_tests::process::{eventually, run};
use transcription_tests::sound::{self, conversation, pink_noise, silence, tone};
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::stack::model;
use transcription_tests::transcription::Transcription;

#[tokio::test]
async fn silence_noise_and_tones_have_no_words() {
    let sounds = || {
        [
            ("silence", silence(60)),
            ("faint pink noise", pink_noise(0.01, 60, 1)),
            ("pink noise", pink_noise(0.1, 60, 2)),
            ("loud pink noise", pink_noise(0.5, 60, 3)),
            ("a tone of 440 Hz", tone(440.0, 0.1, 60)),
            ("a loud tone of 1000 Hz", tone(1000.0, 0.5, 60)),
        ]
    };
    for model in ["tiny.en", "base"] {
        let stack = Transcription::start_whisper(model, []).await;
        for (name, samples) in sounds() {
            let answer = stack.transcribe("1", "a.wav", sound::wav(&samples)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json["transcription"], "", "{model}, {name}");
        }
    }
}

#[tokio::test]
async fn words_after_silence_and_faint_or_noisy_words_are_heard() {
    let stack = Transcription::start_whisper("base", []).await;
    let clip = librivox().swap_remove(0);
    let spoken = sound::samples(&clip);

    let after_silence = [silence(40), spoken.clone(), silence(40)].concat();
    let faint = spoken.iter().map(|sample| sample * 0.003).collect();
    let hiss = pink_noise(0.05, 8, 4);
    let noisy = spoken.iter().zip(&hiss).map(|(a, b)| a + b).collect();
    for (name, samples) in [
        ("after silence", after_silence),
        ("50 dB fainter", faint),
        ("with noise", noisy),
    ] {
        let answer = stack.transcribe("1", "a.wav", sound::wav(&samples)).await;
        let text = answer.json["transcription"].as_str().unwrap();
        println!("{name}: {text}");
        assert!(word_errors(text, &clip.words) <= 3, "{name}: {text}");
        // Silence at the beginning is no language.
        assert_eq!(answer.json["language"], "en", "{name}");
    }
}

#[tokio::test]
async fn a_prompt_and_a_language_change_what_is_heard() {
    let stack = Transcription::start_whisper("base", []).await;
    let clip = librivox().swap_remove(0);
    let send = async |fields: &[(&'static str, &'static str)]| {
        let mut form = Form::new().part("file", Part::bytes(clip.wav.clone()).file_name("a.wav"));
        for &(name, value) in fields {
            form = form.text(name, value);
        }
        let answer = stack.send("1", form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    };

    let plain = send(&[]).await;
    assert!(
        plain["transcription"]
            .as_str()
            .unwrap()
            .contains("John Dashwood")
    );
    let prompted = send(&[("prompt", "Jon Dashwoode and Marianne Dashwoode.")]).await;
    let text = prompted["transcription"].as_str().unwrap();
    assert!(text.contains("Dashwoode"), "{text}");
    let german = send(&[("language", "de-AT")]).await;
    assert_eq!(german["language"], "de");
    assert_ne!(german["transcription"], plain["transcription"]);
}

#[tokio::test]
async fn a_wrong_or_half_copied_model_stops_the_start_with_a_sentence() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let good = model("tiny.en");
    let good = Path::new(&good);
    let copy = |change: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        for file in fs::read_dir(good).unwrap() {
            let file = file.unwrap();
            if file.metadata().unwrap().is_file() {
                fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
        }
        change(folder.path());
        folder
    };
    let without = |name: &'static str| {
        copy(&move |folder: &Path| fs::remove_file(folder.join(name)).unwrap())
    };
    let written = |name: &'static str, content: &'static str| {
        copy(&move |folder: &Path| fs::write(folder.join(name), content).unwrap())
    };
    let cut = copy(&|folder| {
        let file = fs::File::options()
            .write(true)
            .open(folder.join("model.bin"))
            .unwrap();
        file.set_len(40_000_000).unwrap();
    });
    let pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:1a5afae0\nsize 75537500\n";
    let base = model("base");
    let other_tokenizer = copy(&|folder| {
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

    // A model without this file is whole: it has only numbers that all Whisper models have in common.
    assert!(!good.join("preprocessor_config.json").exists());
    let named = copy(&|folder| {
        fs::write(
            folder.join("preprocessor_config.json"),
            r#"{"feature_size": 80}"#,
        )
        .unwrap();
    });
    let path = named.path().display().to_string();
    let (_service, url, _folder) = Transcription::start_on(&stack, "WHISPER_MODEL", &path).await;
    assert!(url.starts_with("http://"));
}

#[tokio::test]
async fn the_slim_binary_has_no_whisper_and_no_cpp_in_it() {
    let has = |program: &Path, name: &str| {
        let bytes = fs::read(program).unwrap();
        bytes
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    };
    let libraries = async |program: &Path| {
        let mut command = Command::new("ldd");
        command.arg(program);
        let output = run(command, "").await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (whole, slim) = (binary("transcription-service"), slim_binary());

    let (of_whole, of_slim) = (libraries(&whole).await, libraries(&slim).await);
    println!("{of_slim}");
    for library in ["libstdc++", "libgomp"] {
        assert!(of_whole.contains(library), "{of_whole}");
        assert!(!of_slim.contains(library), "{of_slim}");
    }
    // Nor linked in.
    for name in ["ctranslate2", "GLIBCXX_", "__cxa_throw"] {
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

/// A sound that takes a few seconds to hear.
fn half_a_minute() -> Vec<u8> {
    sound::wav(&conversation(&librivox(), 30, 0.3..0.6, 5).samples)
}

#[tokio::test]
async fn ten_uploads_at_once_are_all_heard_in_the_order_of_their_arrival() {
    let stack = Transcription::start_whisper(
        "tiny.en",
        [
            ("MAX_CONCURRENT_TRANSCRIPTIONS", "10"),
            ("MAX_CONCURRENT_PER_USER", "10"),
        ],
    )
    .await;
    let clips = librivox();
    let recording = half_a_minute();
    // What one takes.
    let answer = stack.transcribe("1", "first.wav", recording.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    stack.forget_peak();
    stack.transcribe("1", "again.wav", recording.clone()).await;
    let of_one = stack.peak_kib();
    stack.forget_peak();

    let start = Instant::now();
    let answers = (0..10).map(|number: usize| {
        let (stack, clips, recording) = (&stack, &clips, &recording);
        async move {
            // The first keeps the engine busy while the others arrive, in their order.
            let wav = match number {
                0 => recording.clone(),
                _ => clips[number % 5].wav.clone(),
            };
            sleep(Duration::from_millis(100) * u32::try_from(number).unwrap()).await;
            let answer = stack.transcribe("1", &format!("{number}.wav"), wav).await;
            (answer, start.elapsed())
        }
    });
    let answers = join_all(answers).await;

    let ends = answers.iter().map(|(_, end)| *end).collect::<Vec<_>>();
    println!("{ends:?}");
    assert!(ends.is_sorted(), "{ends:?}");
    for (number, (answer, _)) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200, "{answer:?}");
        if number > 0 {
            let clip = &clips[number % 5];
            let text = answer.json["transcription"].as_str().unwrap();
            assert!(word_errors(text, &clip.words) <= 2, "{text}");
        }
    }
    let of_ten = stack.peak_kib();
    let uploads_kib = answers.len() as u64 * (recording.len() as u64).div_ceil(1024);
    println!("{of_one} KiB for one, {of_ten} KiB for ten, {uploads_kib} KiB of uploads at most");
    assert!(of_ten < of_one + uploads_kib + 10 * 1024);
    assert_eq!(stack.count("transcription_queue_depth").await, 0);
    let metrics = stack.metrics().await;
    for count in [
        "transcription_queue_seconds_count 12",
        "transcription_realtime_factor_count{engine=\"whisper\"} 12",
    ] {
        assert!(metrics.contains(count), "{count}:\n{metrics}");
    }
}

#[tokio::test]
async fn one_whose_time_is_over_hears_so_at_once_and_frees_its_turn_within_a_window() {
    let stack = Transcription::start_whisper("base", [("ENGINE_TIMEOUT_SECONDS", "3")]).await;
    // Ten minutes take longer than three seconds.
    let long = sound::wav(&conversation(&librivox(), 600, 0.3..2.0, 6).samples);
    let clip = librivox().swap_remove(4);

    let start = Instant::now();
    let late = stack.transcribe("1", "long.wav", long).await;
    let took = start.elapsed();
    late.assert_problem(504, "engine_timeout");
    println!("504 after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    // The next one has three seconds too, and is heard.
    let answer = stack.transcribe("2", "short.wav", clip.wav).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_hears_so_and_is_not_counted_any_more() {
    let stack = Transcription::start_whisper("base", [("ENGINE_TIMEOUT_SECONDS", "2")]).await;
    let long = sound::wav(&conversation(&librivox(), 300, 0.3..2.0, 7).samples);
    let short = librivox().swap_remove(4).wav;

    let (first, second) = tokio::join!(stack.transcribe("1", "a.wav", long.clone()), async {
        eventually("the first has its turn", async || {
            stack.count("transcription_in_flight").await == 1
        })
        .await;
        sleep(Duration::from_millis(300)).await;
        stack.transcribe("2", "b.wav", short).await
    });

    first.assert_problem(504, "engine_timeout");
    // It is heard if the first one's window ended in time, and told so else; it never hangs.
    assert!([200, 504].contains(&second.status.as_u16()), "{second:?}");
    assert_eq!(stack.count("transcription_queue_depth").await, 0);
}

#[tokio::test]
async fn two_workers_hear_two_recordings_at_once() {
    let settings = [("WHISPER_WORKERS", "2")];
    let stack = Transcription::start_whisper("tiny.en", settings).await;
    let long = sound::wav(&conversation(&librivox(), 300, 0.3..2.0, 8).samples);
    let clip = librivox().swap_remove(4);

    let start = Instant::now();
    let (long, short) = tokio::join!(
        async {
            let answer = stack.transcribe("1", "long.wav", long).await;
            (answer, start.elapsed())
        },
        async {
            eventually("the long one is in flight", async || {
                stack.count("transcription_in_flight").await == 1
            })
            .await;
            sleep(Duration::from_millis(500)).await;
            let answer = stack.transcribe("1", "short.wav", clip.wav.clone()).await;
            (answer, start.elapsed())
        }
    );

    assert_eq!(long.0.status, 200, "{long:?}");
    assert_eq!(short.0.status, 200, "{short:?}");
    assert!(short.1 < long.1, "{:?} {:?}", short.1, long.1);
}
