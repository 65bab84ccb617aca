//! The Helm charts, rendered by Helm 4 and Helm 3: nothing is installed. `tests/data/charts` has what each case has to become.

#![expect(clippy::unwrap_used, reason = "a test that fails must say so at once")]

mod capabilities;
mod conformance;
mod copies;
mod coverage;
mod golden;
mod parity;
mod refusals;
mod schemas;
mod values;
