//! The commands of the README, by the words that they have.

use std::fs;
use transcription_tests::files::root;

/// The one command in the section on Compose that has these words.
pub fn command(words: &[&str]) -> String {
    let commands = blocks("Docker compose").concat();
    let found = commands
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    let found = found.collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{words:?} in:\n{commands}");
    found[0].to_owned()
}

/// The commands that start the stack.
pub fn up() -> String {
    let first = blocks("Docker compose").remove(0);
    assert_eq!(first.lines().count(), 1, "{first}");
    first
}

/// The three curls, which are the same for every way to run the stack.
pub fn curls() -> String {
    blocks("The API in three curls").remove(0)
}

/// The blocks of commands in a section of the README.
fn blocks(section: &str) -> Vec<String> {
    blocks_of("README.md", section)
}

/// The blocks of commands in a section of a page.
pub fn blocks_of(page: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}
