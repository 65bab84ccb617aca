//! Minutes of mixed traffic with mixed faults, and what is left of them.

fn main() {}
