#!/bin/sh
# Installs what building the stack needs, if it is missing: compilers and tools by apt, Rust by rustup.
# Usage: prepare.sh [sources | lint]; with `sources` also the libraries' sources, with `lint` also Rust's formatter and linter.
set -eu

RUST_NEEDED=1.95

scratch=""
trap '[ -z "$scratch" ] || rm -f "$scratch"' EXIT
# A trap that does not exit goes on with the next line.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

# At once, and not when jemalloc is built, a quarter of an hour later.
case "${CARGO_TARGET_DIR:-$PWD}" in
*[[:space:]]*) fail "The path ${CARGO_TARGET_DIR:-$PWD} has a space in it, and jemalloc cannot be built in such a folder. Move the project, or set another folder as CARGO_TARGET_DIR." ;;
esac

packages=""
need() { # command, package
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need cc gcc
need c++ g++
need cmake cmake
need curl curl
need python3 python3
python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("pip") is None)' 2>/dev/null || packages="$packages python3-pip"
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"
[ -e /usr/include/string.h ] || packages="$packages libc6-dev"
# The tests end programs by it.
[ "${1:-}" != lint ] || [ -x /bin/kill ] || packages="$packages procps"

install_packages() {
    command -v apt-get >/dev/null 2>&1 || fail "Missing:$packages. There is no apt-get here to install them: install them in this system's own way, then run this again."
    by_hand="apt-get update && apt-get install --no-install-recommends$packages"
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 ||
            fail "Missing:$packages. There is no sudo to install them with: run this as root, then run make again as yourself: $by_hand"
        sudo="sudo"
        say "Installing by apt needs root; sudo may ask for your password."
    fi
    say "Installing by apt:$packages (95 MB to download if none of it is there) ..."
    scratch=$(mktemp)
    wait_seconds=0
    # What was broken off in the midst of it before.
    $sudo dpkg --configure -a >"$scratch" 2>&1 || :
    # One source of packages that fails need not matter.
    apt "lists of packages" update || :
    # shellcheck disable=SC2086 # a list of names
    apt "packages" install --no-install-recommends $packages && return
    if grep -q "Could not get lock" "$scratch"; then
        say "Another apt is at work, as on a machine that has just been started: waiting for it, for ten minutes at most ..."
        wait_seconds=600
        # shellcheck disable=SC2086 # a list of names
        apt "packages" install --no-install-recommends $packages && return
    fi
    # There is one such line for each package.
    grep '^[EW]: ' "$scratch" | sed -n '1,3p' >&2
    fail "apt could not install$packages. Check the network, /etc/apt and that you may use sudo, then run the same again. By hand, as root: $by_hand"
}

# Runs apt-get and shows how far it is. What it says is only of interest if it fails, and is in $scratch then.
apt() { # what is downloaded, arguments of apt-get
    downloaded="$1 downloaded"
    shift
    # shellcheck disable=SC2086 # empty, or sudo
    {
        trap : INT
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o "DPkg::Lock::Timeout=$wait_seconds" -o APT::Status-Fd=1 "$@" 2>"$scratch" && say "$apt_is_done"
    } | {
        trap '' INT
        # shellcheck disable=SC2030
        shown=""
        result=1
        while IFS= read -r line; do
            case "$line" in
            "$apt_is_done") result=0 ;;
            dlstatus:*) count "$downloaded" "$line" ;;
            pmstatus:*) count "packages installed" "$line" ;;
            esac
        done
        # The next line is not to be written over the count.
        [ -z "$shown" ] || [ ! -t 1 ] || say
        exit "$result"
    }
}
apt_is_done="apt is done."

count() { # what is counted, apt's line: kind:name, perhaps with a colon in it:percent with a fraction:text
    percent=$(printf '%s' "$2" | sed -n 's/^[a-z]*:.*:\([0-9]*\)\.[0-9]*:.*/\1/p')
    [ -n "$percent" ] || return 0
    # On a terminal each percent, in one line; in a file each tenth.
    [ -t 1 ] || percent="${percent%?}0"
    # shellcheck disable=SC2031 # it is called in the same pipe
    [ "$shown" != "$1 $percent" ] || return 0
    shown="$1 $percent"
    if [ -t 1 ]; then printf '\r\033[K  %s: %s %%' "$1" "$percent"; else say "  $1: $percent %"; fi
}

[ -z "$packages" ] || install_packages

# Outside Debian these are packages of their own. At once, and not when the programs are linked, a quarter of an hour later.
for library in libc.a libstdc++.a libgomp.a; do
    [ "$(c++ -print-file-name=$library)" != "$library" ] ||
        fail "The programs are static, and the compiler finds no $library. Install the static libraries of C and C++ (Fedora: glibc-static libstdc++-static), then run this again."
done

rust_found() {
    command -v cargo >/dev/null 2>&1 || return 1
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ "$(printf '%s\n%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n 1)" = "$RUST_NEEDED" ]
}
install_rust() {
    advice="Check the network and the proxy (HTTPS_PROXY), or install Rust $RUST_NEEDED or newer yourself, then run the same again."
    if command -v rustup >/dev/null 2>&1; then
        say "Installing the stable toolchain with rustup, and making it the default (about 250 MB) ..."
        { rustup toolchain install stable --profile minimal --component clippy,rustfmt && rustup default stable; } ||
            fail "rustup could not install it. $advice"
        return
    fi
    say "Installing it for this user with rustup, from https://rustup.rs (about 250 MB) ..."
    scratch=$(mktemp)
    curl --proto '=https' --tlsv1.2 -sSf -o "$scratch" https://sh.rustup.rs || fail "Rust could not be downloaded. $advice"
    sh "$scratch" -y --profile minimal --component clippy,rustfmt || fail "Rust could not be installed. $advice"
    PATH="$HOME/.cargo/bin:$PATH"
}
if ! rust_found; then
    say "Rust $RUST_NEEDED or newer is not installed (found: ${version:-none})."
    install_rust
    rust_found || fail "Rust was installed, but cargo is still ${version:-not found}. Check the PATH."
fi

case "${1:-}" in
sources)
    say "Fetching the sources of the libraries, if they are not there yet ..."
    # As cargo itself names this machine: for other machines there are more.
    machine=$(cargo --version --verbose | sed -n 's/^host: //p')
    cargo fetch --locked --target "$machine" ||
        fail "The sources of the libraries could not be fetched. Check the network and the proxy (HTTPS_PROXY), then run the same again; what has come is kept."
    ;;
lint)
    { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 || {
        say "Installing Rust's formatter and linter with rustup ..."
        rustup component add clippy rustfmt || fail "They could not be installed. Install rustfmt and clippy for $(cargo --version), then run the same again."
    }
    ;;
esac
