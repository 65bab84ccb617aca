//! Adds to static programs how they look up the names of hosts: see `names.c`.

use std::env;

#[expect(clippy::disallowed_methods, reason = "cargo tells it so")]
fn main() {
    println!("cargo::rerun-if-changed=src/names.c");
    let of_target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let features = of_target("FEATURE");
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if is_static && of_target("ENV") == "gnu" {
        cc::Build::new()
            .file("src/names.c")
            // Nobody calls it, so the linker would leave it out.
            .link_lib_modifier("+whole-archive")
            .compile("names");
    }
}
