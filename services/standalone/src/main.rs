//! The program `transcription-standalone`.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use transcription_common::{request, server, settings, telemetry};
use transcription_standalone::config::{Cli, Command, Config};
use transcription_standalone::demo;
use transcription_standalone::stack::Stack;

/// An end that takes no longer needs no words.
const QUIET: Duration = Duration::from_secs(1);

/// As in `transcription-service` with Whisper.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let (config, recording, serves_on) = match command {
        Command::Serve { demo, config } => (config, demo, true),
        Command::Demo { recording, config } => (config, Some(recording), false),
    };
    let telemetry =
        match telemetry::init(&config.telemetry, &config.tls, "transcription-standalone") {
            Ok(telemetry) => telemetry,
            Err(error) => return settings::complain(&format!("{error:#}")),
        };
    request::log_panics();
    let ended = server::run(run(&config, recording.as_deref(), serves_on));
    telemetry.finish();
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

async fn run(config: &Config, recording: Option<&Path>, serves_on: bool) -> anyhow::Result<()> {
    let mut stop_signal = Box::pin(server::stop_signal()?);
    let stack = tokio::select! {
        stack = Box::pin(Stack::build(config.clone())) => stack?,
        // Nobody was answered yet, so nothing is left to finish.
        () = &mut stop_signal => return ended_early(serves_on),
    };
    let addresses = stack.addresses.clone();
    let stop = CancellationToken::new();
    let demonstration = async {
        if let Some(recording) = recording {
            demo::run(&addresses, config, recording).await?;
            if serves_on {
                demo::explain(&addresses, recording)?;
            }
        }
        if serves_on {
            std::future::pending::<()>().await;
        }
        anyhow::Ok(())
    };
    let user = async {
        let result = tokio::select! {
            () = stop_signal => ended_early(serves_on),
            result = demonstration => result,
        };
        stop.cancel();
        result
    };
    let orderly = async {
        let (served, demonstrated) = tokio::join!(stack.serve(stop.clone()), user);
        demonstrated.and(served)
    };
    let grace = config.server.grace();
    tokio::select! {
        result = orderly => result,
        result = end_at_once(&stop, grace) => result,
    }
}

/// Who serves is told to end and has done all; a demonstration has not.
fn ended_early(serves_on: bool) -> anyhow::Result<()> {
    anyhow::ensure!(serves_on, "ended before the recording was heard");
    Ok(())
}

/// Ends, with an error, when the process is told to stop for the second time. A person who waits for the first is told what for.
async fn end_at_once(stop: &CancellationToken, grace: Duration) -> anyhow::Result<()> {
    stop.cancelled().await;
    let second_signal = server::stop_signal()?;
    let tell = async {
        sleep(QUIET).await;
        if io::stdout().is_terminal() {
            let grace = grace.as_secs();
            settings::say(&format!(
                "Finishing what was begun, for {grace} s at most. Ctrl-C again ends at once."
            ))?;
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        () = second_signal => anyhow::bail!("ended at once: what was begun is not finished"),
        result = tell => result,
    }
}
