//! The program `transcription-standalone`.

use std::path::Path;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use transcription_common::{request, server, settings, telemetry};
use transcription_standalone::config::{Cli, Command, Config};
use transcription_standalone::demo;
use transcription_standalone::stack::Stack;

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
    let stop_signal = server::stop_signal()?;
    let stack = Box::pin(Stack::build(config.clone())).await?;
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
            () = stop_signal => Ok(()),
            result = demonstration => result,
        };
        stop.cancel();
        result
    };
    let (served, demonstrated) = tokio::join!(stack.serve(stop.clone()), user);
    demonstrated.and(served)
}
