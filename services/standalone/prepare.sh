#!/bin/sh
# Installs what building the stack needs, if it is missing: compilers and tools by apt, Rust by rustup.
set -eu

RUST_NEEDED=1.95

say() { printf '%s\n' "$*"; }

packages=""
need() { # command, package
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need cc gcc
need c++ g++
need cmake cmake
need curl curl
need python3 python3
python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip"
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"
[ -e /usr/include/string.h ] || packages="$packages libc6-dev"

if [ -n "$packages" ]; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            say "Missing:$packages. Install them as root: apt-get install$packages" >&2
            exit 1
        }
        sudo="sudo"
    fi
    say "Installing by apt:$packages"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of names
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

rust_found() {
    command -v cargo >/dev/null 2>&1 || return 1
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ "$(printf '%s\n%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n 1)" = "$RUST_NEEDED" ]
}
install_rust() {
    if command -v rustup >/dev/null 2>&1; then
        say "Installing the stable toolchain with rustup ..."
        rustup toolchain install stable --profile minimal --component clippy,rustfmt
        rustup default stable
        return
    fi
    say "Installing it for this user with rustup, from https://rustup.rs ..."
    installer=$(mktemp)
    trap 'rm -f "$installer"' EXIT INT TERM
    curl --proto '=https' --tlsv1.2 -sSf -o "$installer" https://sh.rustup.rs || {
        say "Rust could not be downloaded. Install Rust $RUST_NEEDED or newer yourself, then run this again." >&2
        exit 1
    }
    sh "$installer" -y --profile minimal --component clippy,rustfmt
    PATH="$HOME/.cargo/bin:$PATH"
}
if ! rust_found; then
    say "Rust $RUST_NEEDED or newer is not installed (found: ${version:-none})."
    install_rust
    rust_found || {
        say "Rust was installed, but cargo is still ${version:-not found}. Check the PATH." >&2
        exit 1
    }
fi
