//! What is around the services fails, and clients behave badly.
//!
//! - `bombs`: heads, forms and JSON that are made to take time and memory.
//! - `buckets`: an S3 server that fails now and then, changes bytes, or has another clock.
//! - `crowds`: many connections, slow ones, idle ones, more clients than places.
//! - `databases`: a file that cannot be written, is locked, or was copied at a random moment.
//! - `ends`: the end of a service under load.
//! - `engines`: a Gemini that fails now and then.
//! - `networks`: names that do not resolve, a collector of traces that hangs.
//! - `sizes`: uploads of no bytes, of too many, and of another length than they say.
//! - `sounds`: recordings that are far longer than their files are large.
//! - `wire`: what these tests have in common.
//!
//! Faults that are shown one at a time are in `tests/contract`; docs/faults.md lists all of them.

mod bombs;
mod buckets;
mod crowds;
mod databases;
mod ends;
mod engines;
mod networks;
mod sizes;
mod sounds;
mod wire;
