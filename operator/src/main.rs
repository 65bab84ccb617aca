//! The program `transcription-operator`.

use std::process::ExitCode;

use transcription_common::{management, request, server, settings, telemetry};
use transcription_operator::api::schema;
use transcription_operator::config::{Cli, Command, Config};
use transcription_operator::{manifests, run};

fn main() -> ExitCode {
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let ended = match command {
        Command::Run(config) => return work(*config),
        Command::Crd => schema::yaml().and_then(|yaml| settings::say(yaml.trim_end())),
        Command::Manifests(wanted) => {
            manifests::yaml(&wanted).and_then(|yaml| settings::say(yaml.trim_end()))
        }
        Command::Healthcheck(asked) => server::run(management::healthcheck(asked.management_addr)),
    };
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

fn work(config: Config) -> ExitCode {
    let telemetry = match telemetry::init(&config.telemetry, &config.tls, "transcription-operator")
    {
        Ok(telemetry) => telemetry,
        Err(error) => return settings::complain(&format!("{error:#}")),
    };
    request::log_panics();
    let ended = server::run(run(config));
    telemetry.finish();
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}
