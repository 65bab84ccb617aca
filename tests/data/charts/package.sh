#!/bin/sh
# Packs the charts as they are now as those of a release, for the tests of upgrades from it. The same charts make the same bytes. What it
# wrote is kept as it is: a release's charts never change.
# Usage: package.sh VERSION, with `helm` on the PATH, or named by HELM.
set -eu
cd "$(dirname "$0")"

version=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for chart in auth transcription operator; do
    to="$chart-$version.tgz"
    [ ! -e "$to" ] || {
        echo "$to is there already, and is kept." >&2
        exit 1
    }
    "${HELM:-helm}" package "../../../charts/$chart" --version "$version" --app-version "$version" --destination "$work" >/dev/null
    # Helm packs the time too.
    tar -x -z -m -f "$work/$to" -C "$work"
    tar -c -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$chart" | gzip -9 -n >"$to"
done
