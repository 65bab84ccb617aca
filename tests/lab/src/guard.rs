//! Ends what a test program started when that is killed, and so cannot do it itself.
//!
//! A shell waits for the end of a pipe that only the test program writes to: the kernel closes it, however that program ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Kills programs and removes a folder once this program is gone, unless told that [all is over](Guard::over).
pub struct Guard {
    shell: Child,
}

const SCRIPT: &str = r#"
folder=$1
processes=""
while read -r word value; do
    case $word in
    process) processes="$processes $value" ;;
    over) exit 0 ;;
    esac
done
# A number may have been given to another program since then: ours name the folder.
is_ours() { tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF "$folder"; }
for process in $processes; do
    is_ours "$process" && kill -KILL "$process"
done
for process in $processes; do
    tries=0
    while [ $tries -lt 100 ] && is_ours "$process"; do
        tries=$((tries + 1))
        sleep 0.05
    done
done
# What was started by those may still be writing into it.
tries=0
until rm -rf "$folder" || [ $tries -eq 20 ]; do
    tries=$((tries + 1))
    sleep 0.5
done
"#;

impl Guard {
    /// Starts to watch over a folder.
    pub fn start(folder: &Path) -> Self {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "lab-guard"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the test program alone.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        Self { shell }
    }

    /// Has this program killed too. Its command line must name the folder.
    pub fn watch(&self, process: u32) {
        self.say(&format!("process {process}"));
    }

    /// There is nothing to end any more, or it shall stay.
    pub fn over(&mut self) {
        self.say("over");
        let _ = self.shell.wait();
    }

    fn say(&self, line: &str) {
        // A guard that is gone is no reason to fail.
        let _ = writeln!(self.shell.stdin.as_ref().expect("a pipe"), "{line}");
    }
}
