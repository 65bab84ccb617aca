//! The run with kills: nobody counts alike then, but what a client was promised is kept.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use transcription_tests::auth::{Auth, credentials};
use transcription_tests::client::{PASSWORD, http_from, post};
use transcription_tests::process::Process;
use transcription_tests::transcription::Transcription;

use crate::bucket::Bucket;
use crate::faults::{self, Moment};
use crate::lab::Lab;
use crate::people::Shared;
use crate::tell;

/// Between two kills, in milliseconds.
const LIVES: std::ops::Range<u64> = 1_000..4_000;
/// The last clients wait for the engine, and for a service that is being started.
const END_LIMIT: Duration = Duration::from_mins(3);
/// Nobody has failed to log in from here.
const STRANGER: &str = "127.0.0.99";
const READERS: usize = 8;

/// The transcription service of the moment: the process, its address, its folder.
type Running = (Process, String, TempDir);

/// How often which service was ended how.
#[derive(Default)]
struct Kills {
    auth_killed: u32,
    auth_terminated: u32,
    transcription_killed: u32,
    transcription_terminated: u32,
}

/// Runs for so long, and gives what does not hold.
pub async fn run(seed: u64, lasts: Duration) -> Vec<String> {
    println!("\nnow the services are killed and asked to end, again and again");
    let mut lab = Lab::start(seed, lasts).await;
    lab.transcription.process.terminate().await;
    let mut running = Transcription::start_beside(&lab.transcription, []).await;
    lab.shared.move_transcription(&running.1);
    lab.gather().await;
    let until = Instant::now() + lasts;
    let tasks = lab.work(0, until);
    let Lab {
        auth,
        transcription,
        shared,
        ..
    } = &mut lab;
    let (transcription, shared) = (&*transcription, &**shared);
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = Kills::default();
    let moment = Moment::default();
    let mut random_of_faults = StdRng::seed_from_u64(seed + 1);
    let (proxy, google) = (&transcription.proxy, &transcription.google);
    let all = async {
        tokio::join!(
            faults::change(proxy, google, &mut random_of_faults, &moment, until),
            kill(
                auth,
                transcription,
                &mut running,
                shared,
                &mut random,
                &mut kills,
                until
            ),
        );
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::select! {
        ended = timeout(lasts + END_LIMIT, all) => ended.expect("clients end"),
        () = tell::progress(&shared.notes, &moment, || "killed now and then".to_owned()) => {}
    }
    // What it still has to write it writes before it ends.
    running.0.terminate().await;
    judge(&lab, &kills).await
}

/// Ends one of the services now and then, and starts it again.
async fn kill(
    auth: &mut Auth,
    transcription: &Transcription,
    running: &mut Running,
    shared: &Shared,
    random: &mut StdRng,
    kills: &mut Kills,
    until: Instant,
) {
    loop {
        let lives = Duration::from_millis(random.random_range(LIVES));
        if Instant::now() + lives >= until {
            return;
        }
        sleep(lives).await;
        let is_killed = random.random_range(0..4) > 0;
        let signal = if is_killed { "KILL" } else { "TERM" };
        if random.random_range(0..3) == 0 {
            auth.process.signal(signal);
            auth.process.ended().await;
            auth.restart([]).await;
            shared.move_auth(&auth.url);
            kills.auth_killed += u32::from(is_killed);
            kills.auth_terminated += u32::from(!is_killed);
        } else {
            running.0.signal(signal);
            running.0.ended().await;
            *running = Transcription::start_beside(transcription, []).await;
            shared.move_transcription(&running.1);
            kills.transcription_killed += u32::from(is_killed);
            kills.transcription_terminated += u32::from(!is_killed);
        }
    }
}

/// Whether everything is as the clients were told.
async fn judge(lab: &Lab, kills: &Kills) -> Vec<String> {
    let notes = &lab.shared.notes;
    let s3 = &lab.transcription.s3;
    let bucket = Bucket::read(s3, notes, true).await;
    let registered = notes.registered();
    let kept = notes.kept();
    let texts = kept.iter().filter(|kept| kept.is_complete).count();
    let broken = notes.broken().len();
    let Kills {
        auth_killed,
        auth_terminated,
        transcription_killed,
        transcription_terminated,
    } = kills;
    println!("auth: killed {auth_killed} times, asked to end {auth_terminated} times");
    println!(
        "transcription: killed {transcription_killed} times, asked to end {transcription_terminated} times"
    );
    println!(
        "{} requests, {broken} of them without an answer",
        notes.requests()
    );
    println!(
        "{} recordings answered with an id, {texts} with their text",
        kept.len()
    );
    for (state, count) in &bucket.states {
        println!("{count} manifests say: {state}");
    }
    let open = s3.open_uploads().await;
    println!(
        "{} audio objects, {} texts, {open} open uploads, which are the lifecycle rule's",
        bucket.audio_objects, bucket.texts
    );
    println!("{} accounts", registered.len());
    let mut wrong = bucket.wrong;
    // Else it would show nothing.
    if kills.transcription_killed + kills.auth_killed == 0 || texts == 0 || registered.is_empty() {
        wrong.push("nothing was killed, or nothing was done".to_owned());
    }
    wrong.extend(notes.wrongs());
    wrong.extend(lost(&lab.auth.url, &registered).await);
    wrong
}

/// Those whose registration was answered and who cannot log in.
async fn lost(auth_url: &str, registered: &[String]) -> Vec<String> {
    let (http, url) = (http_from(STRANGER), format!("{auth_url}/login"));
    let (http, url) = (&http, &*url);
    let all = registered.iter().map(|name| async move {
        let answer = post(http, url, &credentials(name, PASSWORD)).await;
        (answer.status != 200).then(|| format!("{name} cannot log in: {answer:?}"))
    });
    let all = stream::iter(all).buffer_unordered(READERS);
    all.filter_map(async |lost| lost).collect().await
}
