//! How recordings wait for the engine, and what ends one.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use reqwest::Method;
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::transcription::Transcription;

/// Clips one after another, for so long. Whatever hears it is busy for a while.
fn talk(seconds: usize) -> Vec<u8> {
    sound::wav(&conversation(&librivox(), seconds, 0.3..0.6, 5).samples)
}

/// Waits until so many recordings wait for their turn.
async fn queued(stack: &Transcription, count: i64) {
    eventually("the recordings are queued", async || {
        stack.count("transcription_queue_depth").await == count
    })
    .await;
}

/// Waits until so many recordings have had their turn.
async fn begun(stack: &Transcription, count: i64) {
    eventually("the engine has begun", async || {
        stack.count("transcription_queue_seconds_count").await == count
    })
    .await;
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
    let long = talk(120);
    // What one takes.
    let answer = stack.transcribe("1", "first.wav", long.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    stack.forget_peak();
    stack.transcribe("1", "again.wav", long.clone()).await;
    let of_one = stack.peak_kib();
    stack.forget_peak();

    // The first keeps the engine busy while the others arrive, one after another.
    let start = Instant::now();
    let send = |number: usize| {
        let wav = match number {
            0 => long.clone(),
            _ => clips[number % 5].wav.clone(),
        };
        let (stack, name) = (&stack, format!("{number}.wav"));
        async move { (stack.transcribe("1", &name, wav).await, start.elapsed()) }
    };
    let mut answers = FuturesOrdered::new();
    answers.push_back(send(0));
    for number in 1..10 {
        let queued = async {
            match number {
                1 => begun(&stack, 3).await,
                _ => queued(&stack, number - 1).await,
            }
        };
        // Whatever is sent is driven meanwhile.
        let mut queued = pin!(queued);
        tokio::select! {
            () = &mut queued => {}
            answer = answers.next() => panic!("too soon: {answer:?}"),
        }
        answers.push_back(send(usize::try_from(number).unwrap()));
    }
    let answers = answers.collect::<Vec<_>>().await;

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
    let uploads = (1..10).map(|number| clips[number % 5].wav.len() as u64);
    let uploads_kib = uploads.sum::<u64>() / 1024;
    println!("{of_one} KiB for one, {of_ten} KiB for ten, {uploads_kib} KiB of uploads");
    // Ten connections, and what the allocator keeps of them, besides.
    assert!(of_ten < of_one + uploads_kib + 20 * 1024);
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
    const LIMIT: Duration = Duration::from_secs(20);
    let stack = Transcription::start_whisper("base", [("ENGINE_TIMEOUT_SECONDS", "20")]).await;
    // Half an hour takes much longer than twenty seconds.
    let long = talk(1800);
    let clip = librivox().swap_remove(4);

    let (late, took) = async {
        let sent = async { stack.transcribe("1", "long.wav", long).await };
        let mut sent = pin!(sent);
        tokio::select! {
            () = begun(&stack, 1) => {}
            answer = &mut sent => panic!("too soon: {answer:?}"),
        }
        let start = Instant::now();
        (sent.await, start.elapsed())
    }
    .await;
    late.assert_problem(504, "engine_timeout");
    println!("504 after {took:?}");
    assert!(took < LIMIT + Duration::from_secs(5), "{took:?}");
    // The next one has twenty seconds too, the rest of the other's window among them, and is heard.
    let answer = stack.transcribe("2", "short.wav", clip.wav).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn waiting_for_a_turn_counts_in_the_time_limit() {
    let stack = Transcription::start_whisper("base", [("ENGINE_TIMEOUT_SECONDS", "30")]).await;
    let long = talk(1800);
    // It takes a few windows: more than the head start of the other, and much less than thirty seconds, even on a
    // machine whose cores others use too.
    let short = talk(60);

    let (first, second) = tokio::join!(stack.transcribe("1", "a.wav", long), async {
        begun(&stack, 1).await;
        stack.transcribe("2", "b.wav", short.clone()).await
    });

    first.assert_problem(504, "engine_timeout");
    second.assert_problem(504, "engine_timeout");
    assert_eq!(stack.count("transcription_queue_depth").await, 0);
    // By itself it is heard in time.
    let answer = stack.transcribe("2", "c.wav", short).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn one_recording_is_heard_at_a_time_unless_there_are_more_workers() {
    let short = librivox().swap_remove(4).wav;
    for (workers, waiting) in [("1", 1), ("2", 0)] {
        let settings = [("WHISPER_WORKERS", workers)];
        let stack = Transcription::start_whisper("tiny.en", settings).await;

        let start = Instant::now();
        let (long, short) = tokio::join!(
            async {
                let answer = stack.transcribe("1", "long.wav", talk(150)).await;
                (answer, start.elapsed())
            },
            async {
                begun(&stack, 1).await;
                let sent = async { stack.transcribe("1", "short.wav", short.clone()).await };
                let ((), answer) = tokio::join!(queued(&stack, waiting), sent);
                (answer, start.elapsed())
            }
        );

        assert_eq!(long.0.status, 200, "{long:?}");
        assert_eq!(short.0.status, 200, "{short:?}");
        assert_eq!(short.1 < long.1, waiting == 0, "{short:?} {long:?}");
    }
}

#[tokio::test]
async fn what_a_bucket_keeps_back_does_not_keep_the_turn() {
    let stack = Transcription::start_whisper("tiny.en", [("ENGINE_TIMEOUT_SECONDS", "10")]).await;

    // Too large for the memory, so that it is read from the bucket as it is heard.
    let (late, ()) = tokio::join!(stack.transcribe("1", "long.wav", talk(1800)), async {
        begun(&stack, 1).await;
        let stall = Fault::Late(Duration::from_mins(1));
        stack.proxy.fail(Method::GET, "/audio/", stall);
    });
    late.assert_problem(504, "engine_timeout");
    let short = librivox().swap_remove(4).wav;
    let answer = stack.transcribe("2", "short.wav", short).await;

    assert_eq!(answer.status, 200, "{answer:?}");
}
