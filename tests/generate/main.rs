//! Writes the files that are made from the code.

#![expect(clippy::print_stdout, reason = "it says what it writes")]

use std::fs;
use std::io;

use transcription_tests::{charts, generated};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    for (path, text) in generated::files() {
        fs::write(&path, text)?;
        println!("Written: {}", path.display());
    }
    // After those: the charts have copies of some of them.
    match charts::write().await {
        Ok(written) => {
            for path in written {
                println!("Written: {}", path.display());
            }
        }
        Err(reason) => println!("{reason}"),
    }
    Ok(())
}
