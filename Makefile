# The commands of the project. `make help` lists them.

SHELL := /bin/sh
# Rust that `prepare` has just installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)
# What is downloaded, shared by all checkouts.
export LAB_CACHE := $(or $(LAB_CACHE),$(HOME)/.cache/transcription-lab)

# Programs are built for this machine by its name: see .cargo/config.toml.
built := $(or $(CARGO_TARGET_DIR),target)
machine := $(shell uname -m)-unknown-linux-gnu
bin := $(built)/$(machine)/release
recording := tests/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav
# Everything is always built together: another selection of packages has other features, and would build again.
cargo_build := cargo build --release --workspace --bins --locked

# What `build_info` tells: the commit that was built.
export BUILD_REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export WHISPER_MODEL := $(or $(WHISPER_MODEL),$(LAB_CACHE)/models/base)
run demo: export LOG_FORMAT ?= pretty
run demo: export RUST_LOG ?= warn
# Whoever has a key of Google's in the environment has not asked for the recording to go there.
run demo: export TRANSCRIPTION_ENGINE ?= whisper

.DEFAULT_GOAL := help
.PHONY: help run demo test test-parts lint security fuzz build images e2e e2e-parts e2e-full cluster cluster-down generate pictures bench bench-operator bench-whisper faults soak prepare sources engine model

help: ## Lists the commands.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: model build ## Transcribes a recording, then serves on ports 8001 and 8000 until Ctrl-C.
	@"$(bin)/transcription-standalone" serve --demo $(recording)

demo: model build ## Transcribes a recording and ends.
	@"$(bin)/transcription-standalone" demo $(recording)

test: lint build test-parts ## Lints, then runs all tests. Installs what they need.
	@echo "Most tests wait more than they compute: four at a time ..."
	cargo test --release --workspace --locked --lib --test contract --test black_box --test control_plane -- --test-threads 4
	@echo "The operator's tests wait even more, for leases that lapse and for three minutes in which nothing may happen ..."
	cargo test --release --workspace --locked --test cluster --test monitoring -- --test-threads 6
	@echo "Whisper's tests take all cores and some minutes: two at a time ..."
	cargo test --release --workspace --locked --test whisper -- --test-threads 2

test-parts:
	@for part in whisper-base whisper-tiny.en seaweedfs pyjwt google-genai boto3 promtool ffmpeg faster-whisper openapi-spec-validator schemathesis playwright chromium etcd kubernetes; do tests/lab/fetch.sh $$part || exit 1; done

lint: sources ## Checks formatting and clippy's rules.
	@services/standalone/prepare.sh lint
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings

security: build test-parts ## Checks the packages that are built in, and what hostile clients can do. Installs cargo-deny.
	@tests/lab/security.sh
	cargo test --release --workspace --locked --test contract -- --test-threads 4 bombs:: headers:: hostile:: secrets:: smuggling::

fuzz: build ## Tries arbitrary input of four kinds, ten minutes each. Others: FUZZ_SECONDS=60.
	@for part in seaweedfs etcd kubernetes; do tests/lab/fetch.sh $$part || exit 1; done
	cargo test --release --workspace --locked --test fuzz -- --test-threads 1 --nocapture

build: sources ## Builds the programs into target/<machine>/release.
	@[ -e "$(bin)/transcription-standalone" ] || echo "Building. The first time takes about a quarter of an hour on 2 cores and 3 GB of disk; while C++ is built the count stands still for some minutes."
	$(cargo_build)

images: engine build ## Builds the container images. Needs a Docker Engine.
	@for part in whisper-base busybox; do tests/lab/fetch.sh $$part || exit 1; done
	@tests/lab/images.sh "$(bin)"

e2e: build e2e-parts ## Tests the charts, the images, Compose, and the stack on a Kubernetes node. Needs root; installs Docker Engine and containerd.
	cargo test --release --workspace --locked --test charts --test images --test compose --test node -- --test-threads 2

e2e-parts:
	@for part in whisper-base busybox seaweedfs boto3 docker promtool etcd kubernetes node coredns compose helm chart-tools kubernetes-schemas; do tests/lab/fetch.sh $$part || exit 1; done

e2e-full: build e2e-parts ## Tests what takes longer: the operator's chart, what clients see while pods go and keys change, pods that follow the load.
	@tests/lab/fetch.sh metrics-server
	cargo test --release --workspace --locked --test full -- --test-threads 1

cluster: build ## Starts a Kubernetes cluster of one node to play with, with the images on it. The node needs root.
	@for part in whisper-base busybox seaweedfs docker etcd kubernetes coredns node; do tests/lab/fetch.sh $$part || exit 1; done
	@"$(bin)/cluster" up "$(abspath $(bin))"

cluster-down: ## Ends that cluster.
	@"$(bin)/cluster" down

generate: build ## Writes the files that are made from the code.
	@"$(bin)/generate"

pictures: build ## Draws the dashboards of docs/pictures from five minutes of traffic.
	@for part in whisper-tiny.en seaweedfs promtool etcd kubernetes matplotlib; do tests/lab/fetch.sh $$part || exit 1; done
	PICTURES="$(abspath $(built))/pictures" cargo test --release --workspace --locked --test monitoring
	PYTHONPATH="$(LAB_CACHE)/matplotlib-3.11.2" python3 tests/monitoring/draw.py "$(built)/pictures" docs/pictures

bench: build ## Measures the services next to what bounds them: bcrypt, the database, the bucket, the engine. Some of it: cases="logins calls".
	@for part in seaweedfs wrk; do tests/lab/fetch.sh $$part || exit 1; done
	@"$(bin)/bench" $(cases)

bench-operator: build ## Measures the operator with 10, 100 and 500 stacks: time, requests, memory, CPU. Other numbers: stacks="10 50".
	@for part in etcd kubernetes; do tests/lab/fetch.sh $$part || exit 1; done
	@"$(bin)/bench-operator" $(stacks)

bench-whisper: build ## Measures Whisper next to faster-whisper: time, memory, word errors.
	@for part in whisper-base whisper-tiny.en seaweedfs faster-whisper; do tests/lab/fetch.sh $$part || exit 1; done
	@"$(bin)/bench-whisper"

soak: build ## Ten minutes of mixed traffic with mixed faults: nothing grows, nothing is lost, all count alike. Other lengths: SOAK_MINUTES=60.
	@tests/lab/fetch.sh seaweedfs
	@"$(bin)/soak"

# The page names every test, and which of them are the contract's is for cargo to find out: it has no other ones by these names.
faults: build ## Causes every fault of docs/faults.md, and looks at what clients see and what is stored then.
	@for part in whisper-tiny.en seaweedfs ffmpeg; do tests/lab/fetch.sh $$part || exit 1; done
	cargo test --release --workspace --locked --test faults -- --test-threads 2
	cargo test --release --workspace --locked --test contract -- --test-threads 2 --exact $$(grep -o '`[a-z_]*::[a-z0-9_]*`' docs/faults.md | tr -d '`' | sort -u)

prepare:
	@services/standalone/prepare.sh

# Only before the first build: later there is seldom anything to fetch, and cargo does that by itself.
sources: prepare
	@[ -e "$(bin)/transcription-standalone" ] || services/standalone/prepare.sh sources

# At once, and not after the build.
engine:
	@docker info >/dev/null 2>&1 || { echo "make images needs a Docker Engine: install Docker and start it, or name one in DOCKER_HOST. What is missing says: docker info" >&2; exit 1; }

# Before the build: who cannot fetch it hears so at once. Who has another model needs none.
model: prepare
	@[ "$$WHISPER_MODEL" != "$$LAB_CACHE/models/base" ] || tests/lab/fetch.sh whisper-base
