#!/bin/sh
# What is known of the packages that are built in: their licences, where they come from, and their holes where the data can be had.
# Run by `make security`, from the root of the repository.
set -eu

version=0.20.2
# RustSec's database, as `cargo deny` names its copy.
database=advisory-db-3157b0e258782691
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '%s\n' "$*"; }

# Its own folder: it shares nothing with ours.
if ! cargo deny --version >/dev/null 2>&1; then
    say "cargo-deny is not installed: building $version, which takes some minutes ..."
    CARGO_TARGET_DIR="$work/target" cargo install cargo-deny --locked --version "$version"
fi

say "Licences, sources, and packages that are not to be used ..."
cargo deny check licenses bans sources

# Refreshes what is known of each package of ours, and tells which are older than they could be.
say "Packages of which there are newer ones that fit (cargo update takes them) ..."
cargo update --dry-run 2>&1 | grep -v "Updating crates.io index\|not updating lockfile" || true

# A database with nothing in it, for what is asked of crates.io alone: has anybody taken back what we use?
only_yanked() {
    folder="$work/$database/crates/no-package-of-this-name"
    mkdir -p "$folder"
    printf '```toml\n[advisory]\nid = "RUSTSEC-2020-0001"\npackage = "no-package-of-this-name"\ndate = "2020-01-01"\n\n[versions]\npatched = []\n```\n\n# None\n\nNone.\n' \
        >"$folder/RUSTSEC-2020-0001.md"
    git="git -C $work/$database -c user.name=nobody -c user.email=nobody@localhost"
    $git init --quiet
    $git add .
    $git commit --quiet --message "Nothing"
    $git update-ref refs/remotes/origin/main HEAD
    printf "%s\t\tbranch 'main' of https://github.com/RustSec/advisory-db\n" "$($git rev-parse HEAD)" >"$work/$database/.git/FETCH_HEAD"
    sed "s#^\[advisories\]#[advisories]\ndb-path = \"$work\"#" deny.toml >"$work/deny.toml"
    cargo deny --offline --config "$work/deny.toml" check advisories >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        exit 1
    }
    say "Nobody has."
}

say "Known holes ..."
if cargo deny fetch db >"$work/said" 2>&1; then
    cargo deny check advisories
else
    say "NOT CHECKED: RustSec's database, a git repository on GitHub, could not be had. Run this where it can be. Its last word:"
    sed '/^$/d' "$work/said" | tail -n 1
    say "Instead, only whether somebody has taken back (yanked) what we use ..."
    only_yanked
fi
