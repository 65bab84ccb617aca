//! Writes the files that are made from the code.

#![expect(clippy::print_stdout, reason = "it says what it writes")]

use std::fs;
use std::io;

use transcription_tests::generated;

fn main() -> io::Result<()> {
    for (path, text) in generated::files() {
        fs::write(&path, text)?;
        println!("Written: {}", path.display());
    }
    Ok(())
}
