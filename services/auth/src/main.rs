//! The program `auth-service`.

use std::process::ExitCode;

use anyhow::Context;
use auth_service::Service;
use auth_service::config::{Cli, Command, Config};
use transcription_common::{server, settings, telemetry};

fn main() -> ExitCode {
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let Command::Serve(config) = command;
    if let Err(error) = telemetry::init(&config.log) {
        return settings::complain(&format!("{error:#}"));
    }
    match server::run(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => settings::fail(&error),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = server::stop_signal()?;
    let listener = server::bind(config.listen_addr, "LISTEN_ADDR").await?;
    let service = Service::build(config)
        .await
        .context("auth-service cannot start")?;
    service.serve(listener, stop).await
}
