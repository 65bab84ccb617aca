//! The text of a `.env.example`, made from the settings themselves.

use clap::{Arg, Command, CommandFactory};

use super::variable_name;

const WIDTH: usize = 110;

/// Every setting of the subcommand `serve`, with what it is for and its default.
pub fn env_example<T: CommandFactory>(title: &str) -> String {
    let command = T::command();
    let mut text = format!(
        "# {title}\n#\n# Made by `make generate` from the settings in the code: change those, not this file. Copy it to .env.\n# What is \
         commented out shows the default, or an example where there is none.\n"
    );
    let serve = command.find_subcommand("serve");
    for arg in serve.into_iter().flat_map(Command::get_arguments) {
        if let Some(name) = variable_name(arg) {
            text.push_str(&entry(arg, &name));
        }
    }
    text
}

fn entry(arg: &Arg, name: &str) -> String {
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
    let comment = wrapped(&help);
    let default = arg
        .get_default_values()
        .first()
        .map(|value| value.to_string_lossy().into_owned());
    let example = help
        .split("or example `")
        .nth(1)
        .and_then(|rest| rest.split('`').next());
    let default = default.filter(|default| !default.is_empty());
    let default = default.or(example.map(str::to_owned));
    if arg.is_required_set() {
        return format!("\n{comment}{name}=\"\"\n");
    }
    format!("\n{comment}#{name}=\"{}\"\n", default.unwrap_or_default())
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
