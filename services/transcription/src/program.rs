//! The program, whichever engines it was built with.

use std::process::ExitCode;

use anyhow::Context;
use transcription_common::server::{self, Listeners};
use transcription_common::{management, request, settings, telemetry};

use crate::config::{Cli, Command, Config};
use crate::{Service, commands};

/// Does what the command line asks for, and gives the exit code.
pub fn run() -> ExitCode {
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let ended = match command {
        Command::Serve(config) => return serve(*config),
        Command::InitBucket { s3, tls } => server::run(commands::init_bucket(s3, tls)),
        Command::Smoke(settings) => server::run(commands::smoke(settings)),
        Command::Healthcheck(settings) => {
            let address = settings.management_addr.unwrap_or(settings.listen_addr);
            server::run(management::healthcheck(address))
        }
    };
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

fn serve(config: Config) -> ExitCode {
    if let Err(sentence) = config.engine.check() {
        return settings::complain(&sentence);
    }
    let telemetry = telemetry::init(&config.telemetry, &config.tls, "transcription-service");
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(error) => return settings::complain(&format!("{error:#}")),
    };
    request::log_panics();
    let ended = server::run(answer(config));
    telemetry.finish();
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

async fn answer(config: Config) -> anyhow::Result<()> {
    let stop = server::stop_signal()?;
    let listeners = Listeners::bind(config.listen_addr, &config.server).await?;
    let service = Service::build(config)
        .await
        .context("transcription-service cannot start")?;
    service.serve(listeners, stop).await
}
