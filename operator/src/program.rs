//! The program, from its arguments to its exit code.

use std::process::ExitCode;

use transcription_common::{management, request, server, settings, telemetry};

use crate::api::schema;
use crate::config::{Cli, Command, Config};
use crate::release::Releases;
use crate::{manifests, run};

/// Does what the arguments say, as an operator that can run these releases.
pub fn main(releases: Releases) -> ExitCode {
    let command = match settings::parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    let ended = match command {
        Command::Run(config) => return work(*config, releases),
        Command::Crd => schema::yaml().and_then(|yaml| settings::say(yaml.trim_end())),
        Command::Manifests(wanted) => {
            manifests::yaml(&wanted).and_then(|yaml| settings::say(yaml.trim_end()))
        }
        Command::Healthcheck(asked) => server::run(management::healthcheck(asked.management_addr)),
    };
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}

fn work(config: Config, releases: Releases) -> ExitCode {
    let telemetry = match telemetry::init(&config.telemetry, &config.tls, "transcription-operator")
    {
        Ok(telemetry) => telemetry,
        Err(error) => return settings::complain(&format!("{error:#}")),
    };
    request::log_panics();
    let ended = server::run(run(config, releases));
    telemetry.finish();
    ended.map_or_else(|error| settings::fail(&error), |()| ExitCode::SUCCESS)
}
