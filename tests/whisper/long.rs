//! Long recordings: no sentence is lost or heard twice, and the memory does not grow with them.

use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::{librivox, times_heard};
use transcription_tests::transcription::Transcription;

#[tokio::test]
async fn in_ten_minutes_each_sentence_is_heard_as_often_as_it_was_said() {
    let clips = librivox();
    let talk = conversation(&clips, 600, 0.3..2.0, 20_261_123);
    let wav = sound::wav(&talk.samples);
    for model in ["tiny.en", "base"] {
        let stack = Transcription::start_whisper(model, []).await;

        let answer = stack.transcribe("1", "talk.wav", wav.clone()).await;

        let text = answer.json["transcription"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer:?}"));
        println!("{model}: {text}");
        assert_eq!(answer.json["duration_seconds"], 600.0);
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
async fn an_hour_takes_as_much_memory_as_a_minute() {
    const HOUR_SECONDS: usize = 3600;
    const MOST_KIB: u64 = 50 * 1024;
    let clips = librivox();
    let stack = Transcription::start_whisper("tiny.en", []).await;
    // One sentence after another, so that the model has as much to remember of it as of the hour, in a file that is stored in parts
    // and read from the bucket as that of the hour is.
    let minute = conversation(&clips, 60, 0.3..2.0, 1);
    let large = ["-ar", "48000", "-ac", "2", "-c:a", "pcm_f32le"];
    let minute = sound::ffmpeg(&sound::wav(&minute.samples), &large, "wav").await;
    stack.transcribe("1", "minute.wav", minute.clone()).await;
    stack.forget_peak();
    let answer = stack.transcribe("1", "minute.wav", minute).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let of_minute = stack.peak_kib();
    stack.forget_peak();

    let hour = conversation(&clips, HOUR_SECONDS, 5.0..20.0, 2);
    let answer = stack
        .transcribe("1", "hour.wav", sound::wav(&hour.samples))
        .await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let of_hour = stack.peak_kib();
    println!("{of_minute} KiB for a minute, {of_hour} KiB for an hour");
    assert!(of_hour < of_minute + MOST_KIB, "{of_minute} and {of_hour}");
    let text = answer.json["transcription"].as_str().unwrap();
    // All of it was heard: with pauses this long the small model leaves out a sentence in fifteen, as the reference does.
    let heard = clips.iter().map(|clip| times_heard(text, &clip.words));
    let (heard, played) = (heard.sum::<usize>(), hour.played.len());
    println!("{heard} of {played} sentences");
    assert!((played * 9 / 10..=played).contains(&heard), "{heard}");
}
