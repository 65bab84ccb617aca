//! Settings: one clap struct a binary, read from the environment first, with errors of one line.

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use clap::builder::{OsStr, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Parser};

/// The exit code of a start that a bad setting stopped.
const BAD_SETTING: u8 = 2;

/// Reads command line and environment. An environment variable that is empty counts as unset; without a subcommand the
/// first one of the program is meant.
///
/// On a bad value the error is one plain line on standard error and the exit code that is returned here (2); for
/// `--help` and `--version` it is their text on standard output and 0.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    let names = variable_names(&T::command());
    let command = ignore_empty_variables(T::command());
    let matches = command
        .clone()
        .try_get_matches_from(with_default_subcommand(&command))
        .map_err(|error| report(&error, &names))?;
    if let Some(name) = secret_on_command_line(&command, &matches) {
        return Err(complain(&format!(
            "{name} is a secret and must not stand on the command line, where every user can read it: set it in the environment"
        )));
    }
    T::from_arg_matches(&matches).map_err(|error| report(&error, &names))
}

/// `auth-service` alone is `auth-service serve`, and so is `auth-service --listen-addr …`.
fn with_default_subcommand(command: &Command) -> Vec<OsString> {
    let mut args = std::env::args_os().collect::<Vec<_>>();
    let for_program = ["-h", "--help", "-V", "--version", "help"];
    let names_one = args.get(1).is_some_and(|arg| {
        let arg = arg.to_string_lossy();
        !arg.starts_with('-') || for_program.contains(&arg.as_ref())
    });
    if !names_one && let Some(default) = command.get_subcommands().next() {
        args.insert(1.min(args.len()), default.get_name().into());
    }
    args
}

/// Writes `message` as the one line that explains why the program does not start, and gives the exit code.
#[expect(
    clippy::print_stderr,
    reason = "the log is not yet there, and this is for a person"
)]
pub fn complain(message: &str) -> ExitCode {
    eprintln!("{}", message.replace('\n', " "));
    ExitCode::from(BAD_SETTING)
}

/// Writes why the program ended, with its causes, as one line, and gives the exit code 1.
#[expect(
    clippy::print_stderr,
    reason = "the last word to the person who started the program"
)]
pub fn fail(error: &impl Display) -> ExitCode {
    eprintln!("{}", format!("{error:#}").replace('\n', " "));
    ExitCode::FAILURE
}

/// Clap takes an empty variable for a value; `docker compose` and charts pass variables that are not set as empty.
fn ignore_empty_variables(command: Command) -> Command {
    let subcommands = command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().to_owned())
        .collect::<Vec<_>>();
    let command = command.mut_args(|arg| {
        let is_empty = arg.get_env().is_some_and(|name| {
            #[expect(clippy::disallowed_methods, reason = "the settings are read here")]
            std::env::var_os(name).is_some_and(|value| value.is_empty())
        });
        if is_empty {
            arg.env(Resettable::<OsStr>::Reset)
        } else {
            arg
        }
    });
    subcommands.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, ignore_empty_variables)
    })
}

/// The environment variable of each flag: an error names the variable, since that is what people set.
fn variable_names(command: &Command) -> Vec<(String, String)> {
    let own = command.get_arguments().filter_map(|arg| {
        let flag = arg.get_long()?;
        Some((format!("--{flag}"), variable_name(arg)?))
    });
    own.chain(command.get_subcommands().flat_map(variable_names))
        .collect()
}

fn variable_name(arg: &Arg) -> Option<String> {
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

fn secret_on_command_line(command: &Command, matches: &ArgMatches) -> Option<String> {
    if let Some((name, matches)) = matches.subcommand() {
        return secret_on_command_line(command.find_subcommand(name)?, matches);
    }
    command
        .get_arguments()
        .filter(|arg| arg.is_hide_env_values_set())
        .find(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .and_then(variable_name)
}

fn report(error: &clap::Error, names: &[(String, String)]) -> ExitCode {
    match error.kind() {
        ErrorKind::ValueValidation => {
            let variable = variable_in(error, names).unwrap_or_default();
            let reason = std::error::Error::source(error).map_or_else(
                || "the value is not one it takes".to_owned(),
                ToString::to_string,
            );
            complain(&format!("{variable}: {reason}"))
        }
        ErrorKind::InvalidValue => {
            let variable = variable_in(error, names).unwrap_or_default();
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => values.join(", "),
                _ => String::new(),
            };
            complain(&format!(
                "{variable}: the value is not one it takes; it takes: {valid}"
            ))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(args)) => args
                    .iter()
                    .map(|arg| name_in(arg, names))
                    .collect::<Vec<_>>()
                    .join(", "),
                _ => "a setting".to_owned(),
            };
            complain(&format!(
                "{missing}: required and not set; --help says what it is"
            ))
        }
        _ => {
            // Help, version, and slips on the command line, which clap words well.
            let code = error.exit_code();
            let _ = error.print();
            ExitCode::from(u8::try_from(code).unwrap_or(BAD_SETTING))
        }
    }
}

fn variable_in(error: &clap::Error, names: &[(String, String)]) -> Option<String> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(arg) => Some(name_in(arg, names)),
        _ => None,
    }
}

/// `--listen-addr <LISTEN_ADDR>` becomes `LISTEN_ADDR`, the name in the environment.
fn name_in(arg: &str, names: &[(String, String)]) -> String {
    let flag = arg.split([' ', '=']).next().unwrap_or(arg);
    names
        .iter()
        .find(|(known, _)| known == flag)
        .map_or_else(|| flag.to_owned(), |(_, variable)| variable.clone())
}
