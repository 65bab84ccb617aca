//! The operator with many stacks: how long until all are made so, what that asks of the API server, what the operator takes when nothing
//! changes, and how soon a changed Secret reaches the pods that use it. There are no nodes, so that pods and claims stay pending: that
//! is settled too.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::Parser;
use k8s_openapi::jiff::Timestamp;
use tokio::time::sleep;
use transcription_common::clock;
use transcription_tests::process::memory_kib;

use self::audit::Request;
use self::lab::{Lab, name_of};

mod audit;
mod lab;

/// How long it is looked at what CPU a settled operator takes.
const REST: Duration = Duration::from_mins(1);
/// What it may take of a core.
const MOST_CPU_PERCENT: f64 = 0.5;
/// What it may have in memory without any stack, and for each.
const MOST_KIB: u64 = 40 * 1024;
const MOST_KIB_A_STACK: u64 = 100;
/// A child is looked for and applied; the rest is for the stack itself.
const MOST_REQUESTS_A_CHILD: u32 = 2;
const MOST_OTHER_REQUESTS: u32 = 10;
/// The unit of CPU time in `/proc` is a hundredth of a second on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// Measures the operator with so many stacks.
#[derive(Parser)]
struct Cli {
    /// Numbers of stacks, each on a control plane of its own.
    #[arg(default_values = ["10", "100", "500"], value_parser = clap::value_parser!(u32).range(1..))]
    sizes: Vec<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { sizes } = Cli::parse();
    let cores = available_parallelism().unwrap().get();
    println!("{cores} cores, for the operator and the control plane together");
    let mut all = Vec::new();
    for count in sizes {
        println!("{count} stacks: starting a control plane and the operator");
        let mut lab = Lab::start(count).await;
        all.push(Measured::of(&mut lab).await);
    }
    println!(
        "\n{cores} cores. Requests are all but those for the Lease and those that keep the watches going.\n"
    );
    println!(
        "| stacks | made so after | requests a stack | memory (peak) | CPU at rest | a changed Secret |"
    );
    println!("|---|---|---|---|---|---|");
    for measured in &all {
        println!("{}", measured.row());
    }
    if !all.iter().all(Measured::is_within_bounds) {
        println!("\nOVER: not every bound is kept.");
        return ExitCode::FAILURE;
    }
    println!("\nEvery bound is kept.");
    ExitCode::SUCCESS
}

/// What was measured with a number of stacks.
struct Measured {
    count: u32,
    made_seconds: f64,
    requests: Figure,
    memory: Figure,
    cpu: Figure,
    change: Figure,
}

impl Measured {
    async fn of(lab: &mut Lab) -> Self {
        lab.prepare().await;
        let began = now();
        lab.create().await;
        let created_seconds = now().duration_since(began).as_secs_f64();
        println!("  all are created after {created_seconds:.1} s");
        let requests = lab.settle().await;
        let writes = requests.iter().filter(|request| request.is_write());
        let made_seconds = seconds_until_last(began, writes);
        println!("  all are made so after {made_seconds:.1} s");
        Self {
            count: lab.count,
            made_seconds,
            requests: requests_a_stack(lab, &requests).await,
            memory: memory(lab),
            cpu: cpu_at_rest(lab).await,
            change: changed_secret(lab).await,
        }
    }

    /// Of the table.
    fn row(&self) -> String {
        let Self {
            count,
            made_seconds,
            requests,
            memory,
            cpu,
            change,
        } = self;
        let figures = [requests, memory, cpu, change];
        let cells = figures.map(Figure::cell).join(" | ");
        format!("| {count} | {made_seconds:.1} s | {cells} |")
    }

    fn is_within_bounds(&self) -> bool {
        let figures = [&self.requests, &self.memory, &self.cpu, &self.change];
        figures.into_iter().all(|figure| figure.holds)
    }
}

/// Something next to what it has to be.
struct Figure {
    value: String,
    bound: String,
    holds: bool,
}

impl Figure {
    /// Tells it at once: what comes later takes long.
    fn new(what: &str, value: String, bound: String, holds: bool) -> Self {
        let verdict = if holds { "ok" } else { "OVER" };
        println!("  {what}: {value} ({bound}): {verdict}");
        Self {
            value,
            bound,
            holds,
        }
    }

    fn cell(&self) -> String {
        let verdict = if self.holds { "" } else { " **OVER**" };
        format!("{} ({}){verdict}", self.value, self.bound)
    }
}

async fn requests_a_stack(lab: &Lab, requests: &[Request]) -> Figure {
    tell_by_kind(requests, lab.count);
    let children = lab.children().await;
    println!("  a stack has {children} children");
    let most = MOST_REQUESTS_A_CHILD * children + MOST_OTHER_REQUESTS;
    let requests = whole(requests.len());
    Figure::new(
        "requests a stack",
        format!("{:.1}", f64::from(requests) / f64::from(lab.count)),
        format!("at most {most}"),
        requests <= most * lab.count,
    )
}

fn memory(lab: &Lab) -> Figure {
    let process = lab.operator.id();
    let [resident, peak] = ["VmRSS:", "VmHWM:"].map(|field| memory_kib(process, field));
    let most = MOST_KIB + MOST_KIB_A_STACK * u64::from(lab.count);
    Figure::new(
        "memory (peak)",
        format!("{} ({})", mebibytes(resident), mebibytes(peak)),
        format!("at most {}", mebibytes(most)),
        resident <= most,
    )
}

async fn cpu_at_rest(lab: &mut Lab) -> Figure {
    println!("  looking at the CPU for {} s", REST.as_secs());
    let process = lab.operator.id();
    let (began, before) = (Instant::now(), cpu_ticks(process));
    sleep(REST).await;
    let ticks = f64::from(cpu_ticks(process) - before);
    let percent = 100.0 * ticks / TICKS_A_SECOND / began.elapsed().as_secs_f64();
    // They are of no change: the next count is not to have them.
    let requests = lab.audit.read();
    let writes = requests.iter().filter(|request| request.is_write());
    println!(
        "  meanwhile {} requests, {} of them writes",
        requests.len(),
        writes.count()
    );
    Figure::new(
        "CPU at rest",
        format!("{percent:.2} %"),
        format!("at most {MOST_CPU_PERCENT} % of a core"),
        percent <= MOST_CPU_PERCENT,
    )
}

/// Changes a Secret: the transcription pods of the stacks that use it are to be made anew, and no others.
async fn changed_secret(lab: &mut Lab) -> Figure {
    let deployments = lab.workloads("Deployment").await;
    let sets = lab.workloads("StatefulSet").await;
    let workloads = [deployments.len(), sets.len()].map(whole);
    assert_eq!(workloads, [lab.count; 2], "a stack lacks a workload");
    let users = lab.users();
    println!("  changing the Secret of {users} stacks");
    let began = now();
    lab.change_secret().await;
    let requests = lab.settle().await;
    tell_by_kind(&requests, users);
    let applied = requests
        .iter()
        .filter(|request| request.is_write() && request.resource == "deployments");
    let seconds = seconds_until_last(began, applied);
    let deployments_now = lab.workloads("Deployment").await;
    let sets_now = lab.workloads("StatefulSet").await;
    let wanted = (0..users).map(|number| format!("{}-transcription", name_of(number)));
    let wanted = wanted.collect::<BTreeSet<_>>();
    let has_new_pods = |name: &String| {
        let before = deployments.get(name).map(|before| &before.template);
        let now = deployments_now.get(name).map(|now| &now.template);
        before != now
    };
    let reached = wanted.iter().filter(|name| has_new_pods(name));
    let reached = whole(reached.count());
    let others = deployments
        .iter()
        .filter(|(name, before)| {
            !wanted.contains(*name) && deployments_now.get(*name) != Some(*before)
        })
        .count();
    let sets = sets
        .iter()
        .filter(|(name, before)| sets_now.get(*name) != Some(*before))
        .count();
    Figure::new(
        "a changed Secret",
        format!("{seconds:.1} s to {reached} Deployments, {others} others, {sets} StatefulSets"),
        format!("exactly {users}, 0, 0"),
        reached == users && others == 0 && sets == 0,
    )
}

/// Tells how often what was asked, for each of so many stacks.
fn tell_by_kind(requests: &[Request], stacks: u32) {
    let mut counts = BTreeMap::<String, u32>::new();
    for request in requests {
        let what = format!("{} {}", request.verb, request.resource);
        *counts.entry(what).or_default() += 1;
    }
    let mut counts = counts.into_iter().collect::<Vec<_>>();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let each = counts
        .into_iter()
        .map(|(what, count)| format!("{what} {:.1}", f64::from(count) / f64::from(stacks)));
    let each = each.collect::<Vec<_>>().join(", ");
    println!("  requests for each of {stacks} stacks: {each}");
}

/// The time from a moment until the last of these was answered. The API server has the same clock: it is on this machine.
fn seconds_until_last<'a>(began: Timestamp, requests: impl Iterator<Item = &'a Request>) -> f64 {
    let last = requests.map(|request| request.answered).max();
    last.map_or(0.0, |last| last.duration_since(began).as_secs_f64())
}

fn now() -> Timestamp {
    Timestamp::from_nanosecond(clock::now().unix_timestamp_nanos()).unwrap()
}

/// The CPU time that a process has had so far (proc(5): `utime` and `stime`).
fn cpu_ticks(process: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program comes before, and could have spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(2);
    times.map(|ticks| ticks.parse::<u32>().unwrap()).sum()
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}
