# remotectl: `make demo` and `make test` do everything; the rest are their parts.
# Needs Rust (rustup or a distribution's cargo) and make. What else a step needs it installs where this is Debian and root,
# or says in one line what it left out and why.

SHELL := /bin/sh
CARGO ?= cargo
MUSL := x86_64-unknown-linux-musl
GLIBC := x86_64-unknown-linux-gnu
RUNNER := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

# The static target: musl where rustc has it and there is a C compiler for it, else glibc linked statically.
STATIC := $(shell scripts/static-target)
ifeq ($(STATIC),$(GLIBC))
export RUSTFLAGS += -C target-feature=+crt-static
endif
LAB_EXE := $(abspath $(TARGET_DIR))/$(STATIC)/dev-release/remotectl

.PHONY: help check test lab bench dist static demo docs cast fmt

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

check: ## formatting, clippy, shellcheck, quick tests
	$(CARGO) fmt --check
	scripts/check-shell
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) $(RUNNER) --locked --lib --bins --test floors --test catalogue --test cli --test face --test nl --test protocol --test update --test hostile --test simulator --test install_sh --test demo

test: check lab ## everything that this machine can run

static: ## the static executable, optimised, for the lab and for benches
	scripts/need-musl
	$(CARGO) build --locked --profile dev-release --target $(STATIC) --bin remotectl

lab: static ## the tests with real containers, nodes and sshd (root on Debian)
	REMOTECTL_LAB_EXE=$(LAB_EXE) $(CARGO) test --locked --test lab -- --test-threads=1

bench: static ## speed, as ratios in one run: prints a table, writes bench.json
	scripts/need-sshd
	REMOTECTL_BENCH_EXE=$(LAB_EXE) $(CARGO) bench --locked --profile dev-release --target $(STATIC) --bench dispatch

dist: ## what is shipped: static, small
	scripts/need-musl
	$(CARGO) build --locked --profile dist --target $(STATIC) --bin remotectl
	@ls -l $(TARGET_DIR)/$(STATIC)/dist/remotectl

demo: ## builds, and carries five sentences of the mission out on a simulated cluster
	$(CARGO) build --locked --bin remotectl
	scripts/demo $(TARGET_DIR)/debug/remotectl

docs: ## docs/operations.md, from the catalogue
	REMOTECTL_WRITE_DOCS=1 $(CARGO) test --locked --test face page_of_operations

cast: static ## docs/terminal.svg, from what the program prints
	scripts/cast $(LAB_EXE) docs/terminal.svg

fmt:
	$(CARGO) fmt
