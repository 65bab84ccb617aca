//! Settings: one clap struct a binary, read from the environment first, with errors of one line.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{OsStr, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

pub use self::example::{Setting, env_example, settings};

mod dotenv;
mod example;

/// The exit code of a start that a bad setting stopped.
const BAD_SETTING: u8 = 2;
/// What asks for words and not for work.
const HELP: [&str; 4] = ["-h", "--help", "-V", "--version"];

/// Reads the command line, the environment and the file `.env`. An environment variable that is empty counts as unset;
/// without a subcommand the first one of the program is meant. `NAME_FILE` names a file that holds the secret `NAME`.
///
/// On a bad value the error is one plain line on standard error and the exit code that is returned here (2); for
/// `--help` and `--version` it is their text on standard output and 0.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    let command = T::command();
    let variables = variables(&command);
    let mut names = variables
        .iter()
        .map(|variable| variable.name.clone())
        .collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    let secret_names = names_of_secrets(&command);
    let command = with_hints(command, &secret_names);
    let mut args = with_default_subcommand(&command);
    // Who asks for help may need it because of a bad setting.
    if asks_for_help(&args) {
        return parse_with(command, args, &variables);
    }
    dotenv::apply(&names, &secret_names)?;
    if let Some(variable) = variables.iter().find(|known| is_not_text(&known.name)) {
        let name = &variable.name;
        let example = variable.example();
        return Err(complain(&format!(
            "{name}: the value is not UTF-8{example}"
        )));
    }
    let secrets = secrets_of(&command, &args);
    if let Some(Secret { name, .. }) = secrets.iter().find(|secret| secret.stands_in(&args)) {
        return Err(complain(&format!(
            "{name} is a secret and must not stand on the command line, where every user can read it: set it in the environment"
        )));
    }
    for secret in secrets {
        if let Some(value) = secret.in_file().map_err(|error| complain(&error))? {
            // In this process's memory only: nobody else sees these arguments.
            args.insert(2, format!("--{}={value}", secret.flag).into());
        }
    }
    parse_with(command, args, &variables)
}

fn parse_with<T: Parser>(
    command: Command,
    args: Vec<OsString>,
    variables: &[Variable],
) -> Result<T, ExitCode> {
    let matches = ignore_empty_variables(command)
        .try_get_matches_from(args)
        .map_err(|error| report(&error, variables))?;
    T::from_arg_matches(&matches).map_err(|error| report(&error, variables))
}

fn asks_for_help(args: &[OsString]) -> bool {
    let is_help = |arg: &OsString| HELP.iter().any(|name| arg == name);
    let named = args.get(1).is_some_and(|arg| arg == "help");
    named || args.iter().take_while(|arg| *arg != "--").any(is_help)
}

/// What `--help` says below the settings; the program's own lists those of the default subcommand too.
fn with_hints(command: Command, secret_names: &[String]) -> Command {
    let files = secret_names.iter().map(|name| format!("{name}_FILE"));
    let files = match files.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        some => format!("A secret may also be in a file: {some} name one.\n"),
    };
    let hint = format!(
        "{files}A file .env in the working directory is read; the environment wins. HTTPS_PROXY, NO_PROXY and further OTEL_* variables are taken as usual."
    );
    let of_program = format!("{}\n{hint}", example::list_of_settings(&command));
    let work = default_subcommand(&command).map(|work| work.get_name().to_owned());
    command
        .after_help(of_program)
        .mut_subcommands(|subcommand| {
            if Some(subcommand.get_name()) == work.as_deref() {
                subcommand.after_help(hint.clone())
            } else {
                subcommand
            }
        })
}

/// What a program does that is not told what to do: its first subcommand, `serve` or `run`.
fn default_subcommand(command: &Command) -> Option<&Command> {
    command.get_subcommands().next()
}

fn names_of_secrets(command: &Command) -> Vec<String> {
    let work = default_subcommand(command);
    let args = work.into_iter().flat_map(Command::get_arguments);
    args.filter(|arg| arg.is_hide_env_values_set())
        .filter_map(variable_name)
        .collect()
}

fn is_not_text(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the settings are read here")]
    std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
}

/// A setting that `NAME_FILE` may stand for.
struct Secret {
    name: String,
    flag: String,
}

impl Secret {
    fn stands_in(&self, args: &[OsString]) -> bool {
        let flag = format!("--{}", self.flag);
        args.iter()
            .map(|arg| arg.to_string_lossy())
            .take_while(|arg| arg != "--")
            .any(|arg| arg.split('=').next() == Some(&flag))
    }

    fn in_file(&self) -> Result<Option<String>, String> {
        let name = &self.name;
        let file_variable = format!("{name}_FILE");
        #[expect(clippy::disallowed_methods, reason = "the settings are read here")]
        let Some(file) = std::env::var_os(&file_variable).filter(|file| !file.is_empty()) else {
            return Ok(None);
        };
        if is_set(name) {
            return Err(format!(
                "{name} and {file_variable} are both set: keep one of them, {}",
                example_of_file(name)
            ));
        }
        let file = Path::new(&file);
        let text = fs::read_to_string(file).map_err(|error| {
            format!(
                "{file_variable}: {} cannot be read: {error}; {}",
                file.display(),
                example_of_file(name)
            )
        })?;
        let value = text.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(format!(
                "{file_variable}: {} is empty; {}",
                file.display(),
                example_of_file(name)
            ));
        }
        Ok(Some(value.to_owned()))
    }
}

fn example_of_file(name: &str) -> String {
    format!(
        "for example {name}_FILE=/run/secrets/{}",
        name.to_lowercase()
    )
}

/// The secrets among the settings of the subcommand that was asked for.
fn secrets_of(command: &Command, args: &[OsString]) -> Vec<Secret> {
    let subcommand = args
        .get(1)
        .and_then(|name| command.find_subcommand(name.to_str()?));
    let args = subcommand.into_iter().flat_map(Command::get_arguments);
    args.filter(|arg| arg.is_hide_env_values_set())
        .filter_map(|arg| {
            let flag = arg.get_long()?.to_owned();
            let name = variable_name(arg)?;
            Some(Secret { name, flag })
        })
        .collect()
}

fn is_set(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the settings are read here")]
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// `auth-service` alone is `auth-service serve`, and so is `auth-service --listen-addr …`.
fn with_default_subcommand(command: &Command) -> Vec<OsString> {
    let mut args = std::env::args_os().collect::<Vec<_>>();
    let names_one = args.get(1).is_some_and(|arg| {
        let arg = arg.to_string_lossy();
        !arg.starts_with('-') || HELP.contains(&arg.as_ref())
    });
    if !names_one && let Some(default) = default_subcommand(command) {
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

/// Writes a line on standard output, for the person who gave a command.
pub fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("writing to standard output")
}

/// Clap takes an empty variable for a value; `docker compose` and charts pass variables that are not set as empty.
fn ignore_empty_variables(command: Command) -> Command {
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
    command.mut_subcommands(ignore_empty_variables)
}

/// A setting as an error speaks of it: by the environment variable, since that is what people set.
struct Variable {
    flag: String,
    name: String,
    default: Option<String>,
    example: Option<String>,
    is_secret: bool,
}

impl Variable {
    /// The end of a complaint.
    fn example(&self) -> String {
        match &self.example {
            _ if self.is_secret => format!("; {}", example_of_file(&self.name)),
            Some(example) => format!("; for example {}={example}", self.name),
            None => String::new(),
        }
    }
}

fn variables(command: &Command) -> Vec<Variable> {
    let own = command.get_arguments().filter_map(|arg| {
        let default = arg.get_default_values().first();
        Some(Variable {
            flag: format!("--{}", arg.get_long()?),
            name: variable_name(arg)?,
            default: default.map(|value| value.to_string_lossy().into_owned()),
            example: example::example_of(arg),
            is_secret: arg.is_hide_env_values_set(),
        })
    });
    own.chain(command.get_subcommands().flat_map(variables))
        .collect()
}

fn variable_name(arg: &Arg) -> Option<String> {
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

fn report(error: &clap::Error, variables: &[Variable]) -> ExitCode {
    match error.kind() {
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map_or_else(
                || "the value is not one it takes".to_owned(),
                ToString::to_string,
            );
            complain(&with_example(error, &reason, variables))
        }
        ErrorKind::InvalidValue => {
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => values.join(", "),
                _ => String::new(),
            };
            let reason = format!("the value is not one it takes; it takes: {valid}");
            complain(&with_example(error, &reason, variables))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(args)) => args
                    .iter()
                    .map(|arg| name_in(arg, variables))
                    .collect::<Vec<_>>()
                    .join(", "),
                _ => "a setting".to_owned(),
            };
            let secret = variables
                .iter()
                .any(|known| known.name == missing && known.is_secret);
            let example = if secret {
                format!(", or in a file: {}", example_of_file(&missing))
            } else {
                String::new()
            };
            complain(&format!(
                "{missing}: required and not set{example}; --help says what it is"
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

/// `LISTEN_ADDR: invalid socket address syntax; for example LISTEN_ADDR=0.0.0.0:8001`. Settings without a default give an
/// example in their own error.
fn with_example(error: &clap::Error, reason: &str, variables: &[Variable]) -> String {
    let arg = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg.as_str(),
        _ => "",
    };
    let name = name_in(arg, variables);
    let reason = reason.trim_end_matches('.');
    match variable_of(arg, variables).and_then(|variable| variable.default.as_ref()) {
        Some(default) if !reason.contains("for example") => {
            format!("{name}: {reason}; for example {name}={default}")
        }
        _ => format!("{name}: {reason}"),
    }
}

/// `--listen-addr <LISTEN_ADDR>` becomes `LISTEN_ADDR`, the name in the environment.
fn name_in(arg: &str, variables: &[Variable]) -> String {
    variable_of(arg, variables)
        .map_or_else(|| flag_of(arg).to_owned(), |variable| variable.name.clone())
}

fn variable_of<'a>(arg: &str, variables: &'a [Variable]) -> Option<&'a Variable> {
    let flag = flag_of(arg);
    variables.iter().find(|variable| variable.flag == flag)
}

fn flag_of(arg: &str) -> &str {
    arg.split([' ', '=']).next().unwrap_or(arg)
}
