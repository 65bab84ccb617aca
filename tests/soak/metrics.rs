//! The services' metrics, read as Prometheus reads them.

use std::collections::BTreeMap;

/// All series of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Series>);

#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads Prometheus's text format. No label of ours has a quotation mark or a comma in it.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(series).collect())
    }

    /// The sum of the series with this name and these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let all = self.0.iter().filter(|series| series.name == name);
        let fitting = all.filter(|series| {
            let has = |(label, value): &(&str, &str)| {
                series.labels.get(*label).is_some_and(|it| it == value)
            };
            labels.iter().all(has)
        });
        whole(fitting.map(|series| series.value).sum())
    }

    /// The series with this name, by the values of these labels; those that are zero are left out.
    pub fn by(&self, name: &str, labels: &[&str]) -> BTreeMap<Vec<String>, u64> {
        let mut counts = BTreeMap::new();
        for series in self.0.iter().filter(|series| series.name == name) {
            let values = labels
                .iter()
                .map(|label| series.labels.get(*label).cloned());
            let values = values.map(Option::unwrap_or_default).collect::<Vec<_>>();
            if series.value != 0.0 {
                *counts.entry(values).or_default() += whole(series.value);
            }
        }
        counts
    }
}

fn series(line: &str) -> Option<Series> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').split(',');
    let labels = labels.filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some(Series {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().ok()?,
    })
}

/// Counts are whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters and gauges that never are below zero"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
