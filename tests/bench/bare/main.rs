//! What a service would cost without ours: the same work made bare.

fn main() {}
