//! What a process holds: memory, descriptors, threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use transcription_tests::process::memory_kib;

/// What one of our services holds at rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub resident_kib: u64,
    pub threads: u64,
    /// All but those of the two fields below.
    pub descriptors: usize,
    /// Those of the database's file. SQLite keeps that of a connection that was closed for the next one that is opened, as long as
    /// others have locks on the file.
    pub database: usize,
    /// Connections to the bucket and to the engine: idle ones are kept for a while.
    pub upstream: usize,
}

impl Held {
    /// What this process holds; connections to these ports are upstream.
    pub fn of(process: u32, upstream_ports: &[u16]) -> Self {
        let (mut descriptors, mut database, mut upstream) = (0, 0, 0);
        let ports = remote_ports(process);
        for entry in fs::read_dir(format!("/proc/{process}/fd"))
            .unwrap()
            .flatten()
        {
            // One that was closed meanwhile has no name.
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let port = ports.get(&*target.to_string_lossy());
            if target.ends_with("auth.db") {
                database += 1;
            } else if port.is_some_and(|port| upstream_ports.contains(port)) {
                upstream += 1;
            } else {
                descriptors += 1;
            }
        }
        Self {
            resident_kib: memory_kib(process, "VmRSS:"),
            threads: memory_kib(process, "Threads:"),
            descriptors,
            database,
            upstream,
        }
    }
}

/// The port at the other end of each connection, by the name that its descriptor has (proc(5): `/proc/net/tcp`).
fn remote_ports(process: u32) -> BTreeMap<String, u16> {
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let lines = table.lines().skip(1);
    let entries = lines.filter_map(|line| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let port = fields.get(2)?.rsplit(':').next()?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some((format!("socket:[{}]", fields.get(9)?), port))
    });
    entries.collect()
}

/// The size of a database's log of changes; nothing if there is none.
pub fn wal_bytes(database: &Path) -> u64 {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    fs::metadata(name).map_or(0, |metadata| metadata.len())
}

/// The port in an address.
pub fn port(url: &str) -> u16 {
    url.rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap()
}

/// The line through these points that is closest to them all: how much is added for each step to the right.
#[expect(clippy::cast_precision_loss, reason = "numbers of requests and KiB")]
pub fn slope(points: &[(u64, u64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(u64, u64)) -> u64| {
        points.iter().map(|it| of(it) as f64).sum::<f64>() / count
    };
    let (mean_x, mean_y) = (mean(&|it| it.0), mean(&|it| it.1));
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        let x = *x as f64 - mean_x;
        above += x * (*y as f64 - mean_y);
        below += x * x;
    }
    if below == 0.0 { 0.0 } else { above / below }
}

/// The middle one.
pub fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
