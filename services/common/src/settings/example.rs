//! The text of a `.env.example`, made from the settings themselves.

use clap::{Arg, Command, CommandFactory};

use super::{default_subcommand, variable_name};

const WIDTH: usize = 110;

/// Every setting of the default subcommand, with what it is for and its default.
pub fn env_example<T: CommandFactory>(title: &str) -> String {
    let command = T::command();
    let mut text = format!(
        "# {title}\n#\n# Made by `make generate` from the settings in the code: change those, not this file. Copy it to .env.\n# What is \
         commented out shows the default, or an example where there is none.\n"
    );
    for arg in default_subcommand(&command)
        .into_iter()
        .flat_map(Command::get_arguments)
    {
        if let Some(name) = variable_name(arg) {
            text.push_str(&entry(arg, &name));
        }
    }
    text
}

/// A setting, as a page tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable.
    pub name: String,
    /// Its default; none if it has none or an empty one.
    pub default: Option<String>,
    /// Whether the program does not start without it.
    pub is_required: bool,
    /// What it is for.
    pub about: String,
}

/// Every setting of the default subcommand.
pub fn settings<T: CommandFactory>() -> Vec<Setting> {
    let command = T::command();
    let args = default_subcommand(&command)
        .into_iter()
        .flat_map(Command::get_arguments);
    args.filter_map(|arg| {
        let name = variable_name(arg)?;
        Some(Setting {
            about: description(arg, &name),
            default: default_of(arg),
            is_required: arg.is_required_set(),
            name,
        })
    })
    .collect()
}

/// Every setting of the default subcommand, for the help of the program.
pub fn list_of_settings(command: &Command) -> String {
    let Some(work) = default_subcommand(command) else {
        return String::new();
    };
    let settings = work.get_arguments().filter_map(|arg| {
        let name = variable_name(arg)?;
        let default = default_of(arg);
        let default = default.map_or_else(String::new, |value| format!(" Default: {value}"));
        Some(format!(
            "  {name}\n      {}{default}\n",
            description(arg, &name)
        ))
    });
    format!(
        "Settings of {}, each an environment variable and a flag:\n{}",
        work.get_name(),
        settings.collect::<Vec<_>>().concat()
    )
}

/// A value that the setting takes: its default, or what its help gives as an example.
pub fn example_of(arg: &Arg) -> Option<String> {
    let of_help = || {
        let help = arg.get_long_help().or(arg.get_help())?.to_string();
        let (_, rest) = help.split_once("or example `")?;
        Some(rest.split('`').next()?.to_owned())
    };
    default_of(arg).or_else(of_help)
}

fn default_of(arg: &Arg) -> Option<String> {
    let default = arg.get_default_values().first();
    default
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|default| !default.is_empty())
}

fn entry(arg: &Arg, name: &str) -> String {
    let comment = wrapped(&description(arg, name));
    if arg.is_required_set() {
        return format!("\n{comment}{name}=\"\"\n");
    }
    format!(
        "\n{comment}#{name}=\"{}\"\n",
        example_of(arg).unwrap_or_default()
    )
}

/// What a setting is for, in full.
fn description(arg: &Arg, name: &str) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    // Clap takes the full stop away.
    let mut help = help.map_or_else(String::new, |help| format!("{help}."));
    let takes = arg.get_possible_values();
    if !takes.is_empty() {
        let takes = takes.iter().map(clap::builder::PossibleValue::get_name);
        help = format!("{help} One of: {}.", takes.collect::<Vec<_>>().join(", "));
    }
    if arg.is_hide_env_values_set() {
        help = format!("{help} Or {name}_FILE: the name of a file that holds it.");
    }
    help
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let line = lines
            .last_mut()
            .filter(|line| line.len() + word.len() < WIDTH);
        match line {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("# {word}")),
        }
    }
    lines.join("\n") + "\n"
}
