#!/bin/sh
# Builds the images from programs that are there already, as the Dockerfile builds them from source: it finds them in an image of
# their own, and compiles nothing.
# Usage: images.sh FOLDER, where the programs are.
# With BUILDER in the environment it makes no more than the image with the programs, of that name, for who builds the others in another way.
set -eu
cd "$(dirname "$0")/../.."

programs="$1"
cache="${LAB_CACHE:-$HOME/.cache/transcription-lab}"
prefix="${IMAGE_PREFIX:-ghcr.io/transcription-stack}"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
builder="${BUILDER:-transcription-stack-programs:$$}"

work=""
clean() {
    rm -rf "$work"
    [ -z "${BUILDER:-}" ] || return 0
    # What no name is left for: the stages that brought the programs along.
    docker image rm "$builder" >/dev/null 2>&1 || :
    docker image prune --force --filter label=dev.transcription.stage=builder >/dev/null 2>&1 || :
}
trap '[ -z "$work" ] || clean' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

work=$(mktemp -d)
root="$work/root"
mkdir -p "$root/bin" "$root/out/certs" "$root/out/whisper" "$root/out/models"
# What the builder stage does needs a shell.
cp "$cache/busybox-static/bin/busybox" "$root/bin/busybox"
for name in sh cat chmod cp mkdir; do ln -s busybox "$root/bin/$name"; done
cat /usr/share/ca-certificates/mozilla/*.crt >"$root/out/certs/ca-certificates.crt"
cp "$programs/auth-service" "$programs/transcription-operator" "$root/out"
cp "$programs/transcription-service-slim" "$root/out/transcription-service"
cp "$programs/transcription-service" "$root/out/whisper"
cp -R "$cache/models/base" "$root/out/models"
# Whatever they are here, all may read them there.
chmod -R a+rX,go-w "$root"
tar -C "$root" -c . | docker import --change 'ENV PATH=/bin' - "$builder" >/dev/null
[ -z "${BUILDER:-}" ] || exit 0

for target in auth-service transcription-service transcription-operator transcription-service-whisper; do
    case $target in
    *-whisper) image="$prefix/${target%-whisper}:$version-whisper" ;;
    *) image="$prefix/$target:$version" ;;
    esac
    # Nothing is fetched either.
    docker build --quiet --network none --target "$target" --tag "$image" \
        --build-arg "BUILDER=$builder" --build-arg "VERSION=$version" --build-arg "REVISION=${BUILD_REVISION:-unknown}" . >/dev/null
    docker image inspect --format '{{index .RepoTags 0}} {{.Size}}' "$image" |
        awk '{printf "%-60s %6.1f MB\n", $1, $2 / 1000000}'
done
