//! The program `auth-service`.

use std::process::ExitCode;

use anyhow::Context;
use auth_service::config::{Cli, Command, Config};
use auth_service::{Service, backup, commands};
use transcription_common::server::{self, Listeners};
use transcription_common::{management, request, settings, telemetry};

/// As in the transcription service: docs/design.md says why. It is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    give_memory_back();
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let ended = match command {
        Command::Serve(config) => return serve(*config),
        Command::User(command) => server::run(commands::user(command)),
        Command::Backup { file, database } => server::run(backup::write(file, database)),
        Command::Restore { file, database } => server::run(backup::restore(file, database)),
        Command::MakeKey(settings) => commands::make_key(&settings),
        Command::Smoke(settings) => server::run(commands::smoke(settings)),
        Command::Healthcheck(settings) => {
            let address = settings.management_addr.unwrap_or(settings.listen_addr);
            server::run(management::healthcheck(address))
        }
    };
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

fn serve(config: Config) -> ExitCode {
    let telemetry = match telemetry::init(&config.telemetry, &config.tls, "auth-service") {
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
        .context("auth-service cannot start")?;
    service.serve(listeners, stop).await
}

/// Has a thread of jemalloc's give back what is no longer used: without it that happens when memory is asked for, which after the last
/// request may be late.
fn give_memory_back() {
    // Where there can be no such thread, it stays so.
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
}
