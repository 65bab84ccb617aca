//! Helm, as its users run it: by the commands of the README and of the notes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use transcription_lab::kubernetes::Node;
use transcription_tests::files::cached;
use transcription_tests::images;
use transcription_tests::process::free_port;

use crate::stack::{Namespace, file};

/// The release that the charts are upgraded from: the same programs under its tag.
pub const FORMER: &str = "0.0.9";

/// A version of Helm, which a shell finds as `helm`; with a folder to work in.
pub struct Helm {
    version: u8,
    folder: TempDir,
}

impl Helm {
    pub fn new(version: u8) -> Self {
        let folder = TempDir::new().unwrap();
        let program = cached(&format!("helm-4.3.0-3.22.0/helm{version}"));
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(program, programs.join("helm")).unwrap();
        Self { version, folder }
    }

    /// Runs commands of the README's in the folder of the project, and tells how long they took.
    pub async fn shell(&self, space: &Namespace<'_>, script: &str) -> String {
        let began = Instant::now();
        let programs = self.folder.path().join("bin");
        let printed = space
            .shell_with(Some(&programs), &file(""), script, "")
            .await;
        let took = began.elapsed().as_secs_f64();
        println!(
            "Helm {}, {took:.1} s: {}",
            self.version,
            first_words(script)
        );
        printed
    }

    /// Runs commands of the notes in a folder where files may be made, with this on their standard input.
    pub async fn shell_of_notes(&self, space: &Namespace<'_>, script: &str, input: &str) -> String {
        let programs = self.folder.path().join("bin");
        space
            .shell_with(Some(&programs), self.folder(), script, input)
            .await
    }

    /// Where the commands of the notes are run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn first_words(script: &str) -> String {
    let words = script.split_whitespace().take(4);
    words.collect::<Vec<_>>().join(" ")
}

/// Gives our images on the node the tag of the former release too.
pub async fn tag_as_former(node: &Node) {
    for target in images::ALL {
        let name = images::image(target);
        let version = format!(":{}", env!("CARGO_PKG_VERSION"));
        let former = name.replace(&version, &format!(":{FORMER}"));
        assert_ne!(name, former);
        node.tag_image(&name, &former).await;
    }
}

/// The blocks of commands in the README's section on Helm.
pub fn readme() -> [String; 5] {
    let text = fs::read_to_string(file("README.md")).unwrap();
    let (_, rest) = text.split_once("\n## Helm\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

/// The commands that begin with a word, each with the lines that go on with it.
pub fn commands(block: &str, beginning: &str) -> Vec<String> {
    let mut commands = Vec::<String>::new();
    let mut goes_on = false;
    for line in block.lines() {
        match commands.last_mut() {
            Some(command) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            _ => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands.retain(|command| command.starts_with(beginning));
    commands
}

/// A command with the packed chart of the former release, and not the one that is here.
pub fn of_former_release(command: &str) -> String {
    let changed =
        ["auth", "transcription", "operator"]
            .iter()
            .fold(command.to_owned(), |command, chart| {
                let packed = format!(" tests/data/charts/{chart}-{FORMER}.tgz ");
                command.replace(&format!(" charts/{chart} "), &packed)
            });
    assert_ne!(changed, command, "it names no chart");
    changed
}

/// The commands in what `helm install` printed last, in their order.
pub fn notes(printed: &str) -> Vec<String> {
    let (_, notes) = printed.rsplit_once("\nNOTES:\n").unwrap();
    let lines = notes.lines().filter_map(|line| line.strip_prefix("  "));
    let programs = ["kubectl ", "helm ", "curl "];
    let commands = lines.filter(|line| programs.iter().any(|program| line.starts_with(program)));
    commands.map(str::to_owned).collect()
}

/// Commands of notes as one script. What forwards a port does so in the background, at a port that is free here.
pub fn script(commands: &[String], port: u16) -> String {
    let free = free_port();
    let mut lines = Vec::new();
    for command in commands {
        let command = command
            .replace(&format!(" {port}:"), &format!(" {free}:"))
            .replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{free}"));
        if command.contains(" port-forward ") {
            lines.push(format!("{command} >/dev/null &"));
            lines.push(format!(
                "for try in $(seq 100); do ! curl -s -o /dev/null http://127.0.0.1:{free} || break; sleep 0.1; done"
            ));
        } else {
            lines.push(command);
        }
    }
    lines.join("\n")
}
