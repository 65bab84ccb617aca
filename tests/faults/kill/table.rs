//! A table of what is expected and what was seen.

use std::time::Instant;

/// The table of one test.
pub struct Table<const COLUMNS: usize> {
    title: &'static str,
    heads: [&'static str; COLUMNS],
    seen: Vec<[String; COLUMNS]>,
    wrong: Vec<String>,
    start: Instant,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table without lines.
    pub fn new(title: &'static str, heads: [&'static str; COLUMNS]) -> Self {
        Self {
            title,
            heads,
            seen: Vec::new(),
            wrong: Vec::new(),
            start: Instant::now(),
        }
    }

    /// Adds what was seen, next to what should be.
    pub fn add(&mut self, expected: [&str; COLUMNS], seen: [String; COLUMNS]) {
        if expected != seen.each_ref().map(String::as_str) {
            self.wrong.push(format!(
                "expected {}\nbut seen {}",
                line(&expected),
                line(&seen)
            ));
        }
        self.seen.push(seen);
    }

    /// Prints what was seen as Markdown, and fails the test if any of it is not as expected.
    pub fn finish(self) {
        let mut text = format!("\n{}\n\n{}\n", self.title, line(&self.heads));
        text += &line(&self.heads.map(|_| "---"));
        for seen in &self.seen {
            text += "\n";
            text += &line(seen);
        }
        let seconds = self.start.elapsed().as_secs_f64();
        println!("{text}\n\n{} kills in {seconds:.0} s.\n", self.seen.len());
        assert!(
            self.wrong.is_empty(),
            "{} of {} lines are not as expected:\n{}",
            self.wrong.len(),
            self.seen.len(),
            self.wrong.join("\n")
        );
    }
}

fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells = cells.iter().map(AsRef::as_ref).collect::<Vec<_>>();
    format!("| {} |", cells.join(" | "))
}
