# remotectl: `make demo` and `make test` do everything; the rest are their parts.
# Needs Rust 1.91 or newer (rustup) and make. What else a step needs it installs where this is Debian and root,
# or says in one line what it left out and why.

SHELL := /bin/sh
CARGO ?= cargo
RUNNER := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

# The static target: musl where rustc has it and there is a C compiler for it, else glibc linked statically.
STATIC := $(shell scripts/static-target)
ifneq (,$(findstring -gnu,$(STATIC)))
export RUSTFLAGS += -C target-feature=+crt-static
endif
LAB_EXE := $(abspath $(TARGET_DIR))/$(STATIC)/dev-release/remotectl
# What benches measure; `make dist bench BENCH_EXE=dist/remotectl-x86_64-unknown-linux-musl` measures what is shipped.
BENCH_EXE ?= $(LAB_EXE)

# The tests that need neither root nor containers, a file of tests/ each.
QUICK := \
	catalogue \
	cli \
	demo \
	face \
	floors \
	hostile \
	install_sh \
	killing \
	nl \
	protocol \
	recovery \
	simulator \
	update

.PHONY: help check test lab bench scale soak fuzz dist static demo docs cast fmt

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

check: ## formatting, clippy, shellcheck, quick tests
	$(CARGO) fmt --check
	scripts/check-shell
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) $(RUNNER) --locked --lib --bins $(QUICK:%=--test %)

test: check lab fakepve ## everything that this machine can run

static: ## the static executable, optimised, for the lab and for benches
	scripts/need-musl
	$(CARGO) build --locked --profile dev-release --target $(STATIC) --bin remotectl
	scripts/check-static $(LAB_EXE)

lab: static ## the tests with real containers, nodes and sshd (root on Debian)
	REMOTECTL_LAB_EXE=$(LAB_EXE) $(CARGO) test --locked --test lab -- --test-threads=1

# An independent simulator of the Proxmox API, from PyPI, in a venv of its own.
FAKEPVE_VERSION := 0.5.0
FAKEPVE := $(abspath $(TARGET_DIR))/fakepve-$(FAKEPVE_VERSION)

.PHONY: fakepve
fakepve: ## the Proxmox client against an independent simulator (python3 and PyPI)
	@scripts/need-fakepve $(FAKEPVE) $(FAKEPVE_VERSION)
	REMOTECTL_FAKEPVE=$(FAKEPVE)/bin/fakepve $(CARGO) test --locked --test fakepve

bench: static ## speed and memory, as ratios in one run: prints a table, writes bench.json
	scripts/need-sshd
	REMOTECTL_BENCH_TOOLS=$$(scripts/need-rivals) REMOTECTL_BENCH_DEPLOY=$$(scripts/deploy-time $(abspath $(BENCH_EXE))) \
		REMOTECTL_BENCH_EXE=$(abspath $(BENCH_EXE)) \
		$(CARGO) bench --locked --profile dev-release --target $(STATIC) --bench promises

scale: static ## thousands of agents of one hub: memory, CPU, commands, the way back; writes scale.json
	REMOTECTL_BENCH_EXE=$(abspath $(BENCH_EXE)) \
		$(CARGO) bench --locked --profile dev-release --target $(STATIC) --bench scale

soak: ## a thousand kills of hub and agent, about half an hour
	REMOTECTL_KILLS=$${REMOTECTL_KILLS:-1000} $(CARGO) test --locked --test killing -- --nocapture

# How long each target of fuzz/ runs.
FUZZ_SECONDS ?= 60

fuzz: ## any bytes in: libFuzzer over the targets of fuzz/; the grammar's speed, and never over 50 ms for 4 KiB
	FUZZ_ROUNDS=20000 REMOTECTL_BENCH_STRICT=1 $(CARGO) bench --locked --profile dev-release --bench grammar
	scripts/fuzz $(FUZZ_SECONDS)

dist: ## what is shipped, in dist/: static, small, checked; for x86_64 and, where its tools are, aarch64
	scripts/dist

.PHONY: dist-check
dist-check: dist ## builds the commit again elsewhere: the same bytes
	scripts/reproducible

demo: ## builds, and carries five sentences of the mission out on a simulated cluster
	$(CARGO) build --locked --bin remotectl
	scripts/demo $(TARGET_DIR)/debug/remotectl

docs: ## docs/operations.md, from the catalogue
	REMOTECTL_WRITE_DOCS=1 $(CARGO) test --locked --test face page_of_operations

cast: static ## docs/terminal.svg, from what the program prints
	scripts/cast $(LAB_EXE) docs/terminal.svg

fmt:
	$(CARGO) fmt
