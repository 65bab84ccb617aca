//! What was measured, as a table: on the screen, and in `RESULTS.md` beside what was committed last.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use transcription_common::clock;
use transcription_tests::files::root;

/// Where the table is kept, in the project.
const RESULTS: &str = "tests/bench/RESULTS.md";

/// Goals that are missed for a cause that docs/measurements.md tells, and how far. Beyond that something has become worse.
const KNOWN_MISSES: [(&str, Goal); 6] = [
    ("`GET /me`, 8 connections", Goal::AtLeast(0.7)),
    (
        "rejected `POST /transcribe`, 8 connections",
        Goal::AtLeast(0.48),
    ),
    (
        "CPU of a `/transcribe` of 100 kB, next to bare calls",
        Goal::AtMost(1.45),
    ),
    ("uploads of 100 MiB, 1 at once", Goal::AtLeast(0.78)),
    ("uploads of 100 MiB, 4 at once", Goal::AtLeast(0.78)),
    ("uploads of 100 MiB, 16 at once", Goal::AtLeast(0.78)),
];

/// One line of it.
pub struct Row {
    /// What was measured. The name under which it is found again.
    pub case: String,
    /// Ours, with its unit.
    pub ours: String,
    /// What it is compared with, with its unit.
    pub against: String,
    /// The figure that has the goal.
    pub figure: f64,
    /// The goal.
    pub goal: Goal,
    /// What its figure is: a ratio, or a number of something.
    pub unit: &'static str,
}

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Nothing: it says what the others are worth.
    Stated,
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Stated => true,
        }
    }

    fn told(self, unit: &str) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}{unit}"),
            Self::AtMost(most) => format!("≤ {most}{unit}"),
            Self::Stated => "–".to_owned(),
        }
    }
}

impl Row {
    /// Whether its goal is met.
    pub fn is_met(&self) -> bool {
        self.goal.is_met(self.figure)
    }

    /// Whether it is missed no further than is known.
    pub fn is_known_miss(&self) -> bool {
        let known = KNOWN_MISSES.iter().find(|(case, _)| *case == self.case);
        !self.is_met() && known.is_some_and(|(_, bound)| bound.is_met(self.figure))
    }

    fn told_figure(&self) -> String {
        let Self { figure, unit, .. } = self;
        let digits = match figure.abs() {
            figure if figure < 10.0 => 2,
            figure if figure < 1000.0 => 1,
            _ => 0,
        };
        format!("{figure:.digits$}{unit}")
    }

    /// The line, with what was committed last.
    pub fn line(&self, before: Option<&str>) -> String {
        let met = match self.goal {
            Goal::Stated => "",
            _ if self.is_met() => "yes",
            _ => "**no**",
        };
        format!(
            "| {} | {} | {} | {} | {} | {met} | {} |",
            self.case,
            self.ours,
            self.against,
            self.told_figure(),
            self.goal.told(self.unit),
            before.unwrap_or("–")
        )
    }
}

/// The heads of the columns.
pub const HEAD: &str = "| case | ours | against | figure | goal | met | last committed |\n|---|---|---|---|---|---|---|";

/// Writes the table into the page of results.
pub fn write(rows: &[Row], took_seconds: u64) {
    let before = committed();
    let mut page = format!(
        "# Results of `make bench`\n\n{}; {}. Took {} minutes. Each ratio is that of the round of three in the middle; other figures are medians. docs/measurements.md says what the lines mean.\n\n{HEAD}\n",
        clock::now().date(),
        machine(),
        took_seconds.div_ceil(60)
    );
    for row in rows {
        let before = before.get(&row.case).map(String::as_str);
        writeln!(page, "{}", row.line(before)).unwrap();
    }
    std::fs::write(root().join(RESULTS), page).unwrap();
}

/// The figures of the last commit, by their case.
pub fn committed() -> BTreeMap<String, String> {
    let shown = Command::new("git")
        .arg("show")
        .arg(format!("HEAD:{RESULTS}"))
        .current_dir(root())
        .output();
    let page = shown.map_or_else(|_| Vec::new(), |output| output.stdout);
    let page = String::from_utf8_lossy(&page).into_owned();
    let lines = page.lines().filter(|line| line.starts_with("| "));
    lines
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            Some(((*cells.get(1)?).to_owned(), (*cells.get(4)?).to_owned()))
        })
        .collect()
}

/// What it was measured on.
fn machine() -> String {
    let read = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo", "MemTotal");
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), {} GiB of memory, Linux {}, a shared machine",
        read("/proc/cpuinfo", "model name"),
        memory / 1024 / 1024,
        kernel.trim()
    )
}

/// One round: ours, and what it is compared with.
pub type Round = (f64, f64);

/// The round with the figure in the middle, and that figure: the numbers beside it are of the same moment.
pub fn median_round(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> (Round, f64) {
    let mut rounds: Vec<_> = rounds.iter().map(|round| (*round, figure(round))).collect();
    rounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    rounds[rounds.len() / 2]
}

/// How many times what it is compared with ours is.
pub fn ratio((ours, against): &Round) -> f64 {
    ours / against
}

/// The one in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
