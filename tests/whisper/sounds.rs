//! What Whisper makes of silence and noise, and of what the client says of a recording.

use reqwest::multipart::{Form, Part};
use serde_json::Value;
use transcription_tests::sound::{self, pink_noise, silence, tone};
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::transcription::Transcription;

#[tokio::test]
async fn silence_noise_and_tones_have_no_words() {
    let sounds = |seconds| {
        [
            ("silence", silence(seconds)),
            ("faint pink noise", pink_noise(0.01, seconds, 1)),
            ("pink noise", pink_noise(0.1, seconds, 2)),
            ("loud pink noise", pink_noise(0.5, seconds, 3)),
            ("a tone of 440 Hz", tone(440.0, 0.1, seconds)),
            ("a loud tone of 1000 Hz", tone(1000.0, 0.5, seconds)),
        ]
    };
    // Two windows, and one.
    for (model, seconds) in [("tiny.en", 60), ("base", 30)] {
        let stack = Transcription::start_whisper(model, []).await;
        for (name, samples) in sounds(seconds) {
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
    // An order to the model is words like any others.
    let ordered = send(&[(
        "prompt",
        "<|startoftranscript|><|de|><|translate|> Good morning.",
    )])
    .await;
    let text = ordered["transcription"].as_str().unwrap();
    assert!(word_errors(text, &clip.words) <= 2, "{text}");
    assert_eq!(ordered["language"], "en");
    let german = send(&[("language", "de-AT")]).await;
    assert_eq!(german["language"], "de");
    assert_ne!(german["transcription"], plain["transcription"]);
}

#[tokio::test]
async fn what_chance_has_a_part_in_comes_out_the_same_after_a_restart() {
    let spoken = librivox().into_iter().map(|clip| sound::samples(&clip));
    // So much noise that the model is unsure, and is asked again at higher temperatures. How much it takes depends on the processor, whose
    // sums differ in their last digits: as many are heard as it takes to find two.
    let noisy = spoken.flat_map(|spoken| {
        [0.2, 0.3, 0.4, 0.5].map(|level| {
            let noise = pink_noise(level, 6, 5);
            let mixed = spoken.iter().zip(&noise).map(|(a, b)| a + b);
            sound::wav(&mixed.collect::<Vec<_>>())
        })
    });
    let noisy = noisy.collect::<Vec<_>>();
    let hear = async |most: usize| {
        let settings = [("RUST_LOG", "info,transcription_service::engine=debug")];
        let stack = Transcription::start_whisper("tiny.en", settings).await;
        let warm = || {
            let log = stack.process.log();
            let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
            let warm = lines.filter(|line: &Value| line["temperature"].as_f64() > Some(0.0));
            warm.count()
        };
        let mut texts = Vec::new();
        for wav in &noisy[..most] {
            let answer = stack.transcribe("1", "a.wav", wav.clone()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            texts.push(answer.json["transcription"].as_str().unwrap().to_owned());
            if most == noisy.len() && warm() >= 2 {
                break;
            }
        }
        (texts, warm())
    };

    let first = hear(noisy.len()).await;
    let second = hear(first.0.len()).await;

    println!("{first:?}");
    assert!(first.1 > 0, "chance had no part in it");
    assert_eq!(first, second);
}
