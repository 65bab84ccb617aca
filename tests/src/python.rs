//! Python, as a witness: what others wrote has to understand us.

use std::process::Command;

use crate::files::cached;
use crate::process::run;

/// Runs a script and gives what it prints.
pub async fn python(script: &str, args: &[&str]) -> String {
    let path = ["pyjwt-2.15.1", "boto3-1.44.5"].map(cached);
    let path = std::env::join_paths(path).unwrap();
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", path)
        .arg("-c")
        .arg(script)
        .args(args);
    let output = run(command, "").await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}
