//! Long recordings: no sentence is lost or heard twice, and the memory does not grow with them.

use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::{librivox, times_heard};
use transcription_tests::transcription::Transcription;

#[tokio::test]
async fn in_some_minutes_each_sentence_is_heard_as_often_as_it_was_said() {
    let clips = librivox();
    // The larger model takes its time.
    for (model, seconds, told) in [("tiny.en", 300, 300.0), ("base", 150, 150.0)] {
        let talk = conversation(&clips, seconds, 0.3..2.0, 20_261_123);
        let wav = sound::wav(&talk.samples);
        let stack = Transcription::start_whisper(model, []).await;

        let answer = stack.transcribe("1", "talk.wav", wav.clone()).await;

        let text = answer.json["transcription"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer:?}"));
        println!("{model}: {text}");
        assert_eq!(answer.json["duration_seconds"], told);
        assert_eq!(answer.json["language"], "en");
        let mut wrong = Vec::new();
        for (number, clip) in clips.iter().enumerate() {
            let played = talk.played.iter().filter(|&&clip| clip == number).count();
            let heard = times_heard(text, &clip.words);
            if heard != played {
                wrong.push(format!("{heard} of {played} times: {}", clip.words));
            }
        }
        assert!(wrong.is_empty(), "{model}: {wrong:?}");
    }
}

#[tokio::test]
async fn twenty_minutes_take_as_much_memory_as_one() {
    const LONG_SECONDS: usize = 1200;
    const MOST_KIB: u64 = 50 * 1024;
    let clips = librivox();
    let stack = Transcription::start_whisper("tiny.en", []).await;
    // One sentence after another, so that the model has as much to remember of it as of the long one, in a file that is stored in parts
    // and read from the bucket as that of the long one is.
    let minute = conversation(&clips, 60, 0.3..2.0, 1);
    let large = ["-ar", "48000", "-ac", "2", "-c:a", "pcm_f32le"];
    let minute = sound::ffmpeg(&sound::wav(&minute.samples), &large, "wav").await;
    stack.transcribe("1", "minute.wav", minute.clone()).await;
    stack.forget_peak();
    let answer = stack.transcribe("1", "minute.wav", minute).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let of_minute = stack.peak_kib();
    stack.forget_peak();

    let long = conversation(&clips, LONG_SECONDS, 5.0..20.0, 2);
    let answer = stack
        .transcribe("1", "long.wav", sound::wav(&long.samples))
        .await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let of_long = stack.peak_kib();
    println!("{of_minute} KiB for a minute, {of_long} KiB for twenty");
    assert!(of_long < of_minute + MOST_KIB, "{of_minute} and {of_long}");
    let text = answer.json["transcription"].as_str().unwrap();
    // All of it was heard: with pauses this long the small model leaves out a sentence in fifteen, as the reference does.
    let heard = clips.iter().map(|clip| times_heard(text, &clip.words));
    let (heard, played) = (heard.sum::<usize>(), long.played.len());
    println!("{heard} of {played} sentences");
    assert!((played * 9 / 10..=played).contains(&heard), "{heard}");
}
