# Two commands do everything on a fresh Debian 12 with Rust, as root: `make hello` and `make test`.

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wharf
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(HOME)/.cargo/bin:$(CACHE)/typos/bin:$(PATH)
DIST := $(CARGO_TARGET_DIR)/dist
# What the programs say of where they come from; nothing outside of a checkout.
WHARF_COMMIT := $(shell git log -1 --format=%h 2> /dev/null)
WHARF_COMMIT_TIME := $(shell git log -1 --format=%cI 2> /dev/null)

.DEFAULT_GOAL := build

# What wants systemd, pure cgroup v2 and AppArmor, in an emulated machine: see scripts/test-vm.sh.
test-vm: dist fixtures
	@bash scripts/test-vm.sh $(DIST)

.PHONY: hello test test-vm lint build dist install bench conformance soak crash fuzz tools fixtures

# Builds, starts a daemon in a world of its own, runs hello-world and a command in a real Debian image.
hello: dist tools
	@bash scripts/hello.sh $(DIST)

# The two programs as users get them: wharf, and the static wharf-shim beside it.
dist: export WHARF_COMMIT := $(WHARF_COMMIT)
dist: export WHARF_COMMIT_TIME := $(WHARF_COMMIT_TIME)
dist:
	env -u MAKEFLAGS cargo build --release --package wharf
	@mkdir -p $(DIST)
	@unset MAKEFLAGS; shim=$$(bash scripts/build-shim.sh) && install -m 0755 $(CARGO_TARGET_DIR)/release/wharf $$shim $(DIST)/

# Programs, systemd's units, completions and manual pages; DESTDIR=FOLDER to put them below it.
install: dist
	@bash scripts/install.sh $(DIST) $(DESTDIR)

build:
	cargo build --workspace

tools:
	@bash scripts/install-test-tools.sh

# What the tests stand on, all at a time: most of what it takes is the network's. A script that ends with 75 could not reach a registry
# of packages, and its tests are skipped.
FIXTURES := $(addprefix fixture-,build applications sources languages cli-plugins golang rust sdks)
fixtures: tools
	@$(MAKE) --no-print-directory -j $(FIXTURES)

# They start programs that would take make's own jobs for theirs.
fixture-%:
	@env -u MAKEFLAGS bash crates/wharf-testkit/fixtures/$*.sh > /dev/null || [ $$? = 75 ]

test: tools
	@$(MAKE) --no-print-directory -j $(FIXTURES) dist
	@# One more than there are processors: most of what the scenarios take is waiting.
	WHARF_BIN_DIR=$(DIST) cargo nextest run --workspace --no-fail-fast --test-threads $$(($$(nproc) + 1))

lint: tools
	cargo fmt --all --check
	env -u MAKEFLAGS cargo clippy --workspace --all-targets --quiet -- -D warnings
	env -u MAKEFLAGS cargo xtask tidy
	cargo deny --log-level error check bans licenses sources
	typos

# The same scenarios against Wharf and against Debian's dockerd; those that compile do it with every client there is.
conformance: dist fixtures
	WHARF_TEST_LONG=1 WHARF_BIN_DIR=$(DIST) cargo run --quiet --package wharf-conformance -- --engine wharf --engine dockerd --engine dockerd-26

# 2,000 container lives with random operations, and a kill -9 of the daemon every few seconds.
soak: dist fixtures
	WHARF_BIN_DIR=$(DIST) cargo run --quiet --package wharf-conformance --bin soak -- $(SOAK)

# 500 deaths of daemon and registry at random points of pulls, pushes, loads, removals and collections.
crash: dist fixtures
	WHARF_BIN_DIR=$(DIST) cargo run --quiet --package wharf-conformance --bin crash -- $(CRASH)

# Each target of fuzz/ for a minute, from the saved corpus on; a file that makes one fail is in fuzz/artifacts.
FUZZ ?= 60
fuzz:
	@for target in $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))); do \
	    mkdir -p $(CACHE)/fuzz/$$target && (cd fuzz && CARGO_TARGET_DIR=$(CACHE)/target-fuzz cargo +nightly fuzz run $$target \
	        $(CACHE)/fuzz/$$target corpus/$$target -- -max_total_time=$(FUZZ) -timeout=20) || exit; \
	done

bench: dist fixtures
	@bash benches/run.sh $(DIST)
