# The one entry to everything. CI calls the same targets.

CARGO ?= cargo
# What `make test` needs beyond a Rust toolchain.
TEST_PROGRAMS = promtool prlimit nginx fail2ban-regex postgres pebble knotd nsupdate chromium axe

.PHONY: all demo build man test test-programs check fmt lint doc deny lines bench bench-smoke bench-micro fuzz cover soak abuse testssl conformance conformance-programs up down clean

all: check test

# A relay, a client and a web service; one page fetched through them. ONCE=1 ends after the fetch.
demo:
	$(CARGO) build --quiet -p relay -p client -p tests
	$(CARGO) run --quiet -p tests --bin demo -- $(if $(ONCE),--once)

# The two programs as they are shipped, in target/release.
build:
	$(CARGO) build --release -p relay -p client

# The manual pages, in target/man.
man:
	$(CARGO) run --quiet -p tests --bin man -- target/man

test: test-programs
	$(CARGO) test --workspace

# Installs what is missing, where it can; says what to do where it cannot.
test-programs:
	@tests/programs $(TEST_PROGRAMS)

# Everything but the tests: format, lints, documentation, dependencies, length of files.
check: lint doc deny lines

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# Licences, sources, duplicates. Skipped with a note where the tool is not installed.
deny:
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --log-level error check bans licenses sources; \
	else \
	    echo "skipped: cargo-deny is not installed (cargo install cargo-deny --locked)"; \
	fi

# A file holds one idea: 500 lines are the most.
lines:
	@git ls-files '*.rs' | xargs wc -l | awk '$$2 != "total" && $$1 > 500 { print $$2 ": " $$1 " lines, 500 are the most"; bad = 1 } END { exit bad }'

# Ours beside its peers, as far as they are installed. See tests/bench/README.md.
bench: build
	$(CARGO) run --release -p bench -- $(ARGS)

# Only whether the benchmark works.
bench-smoke: build
	$(CARGO) run --release -p bench -- --smoke

# The record codec, the wire and a bridge, each on its own. ARGS="bridge" chooses.
bench-micro:
	$(CARGO) bench -p shared --bench micro -- $(ARGS)

# Every decoder, for SECONDS each. Needs a nightly toolchain and cargo-fuzz.
SECONDS ?= 30
fuzz:
	for target in $$(cd shared && $(CARGO) +nightly fuzz list); do \
	    (cd shared && $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(SECONDS)) || exit 1; \
	done

# Both directions saturated over a slow wire for a minute.
soak:
	SALLYPORT_SOAK=60 $(CARGO) test -p tests --test it saturate

# How a good tenant fares while somebody attacks: the table in docs/security.md. ARGS="--list" shows
# the attacks, ARGS="--only guess" chooses.
abuse: build
	$(CARGO) run --quiet -p tests --bin abuse -- --programs target/release $(ARGS)

# What testssl.sh finds at the control port.
testssl: build
	@tests/programs testssl
	tests/testssl target/release/relay

# What conformance suites say through the tunnel and without it, see docs/conformance.md. Needs Go
# and Python 2.7, and installs the rest. ARGS="--list" shows the suites, ARGS="--only h2spec" chooses.
conformance: conformance-programs build
	$(CARGO) run --quiet -p tests --bin conformance -- --programs target/release $(ARGS)

conformance-programs:
	@tests/conformance/install target/conformance
	@tests/programs nginx testssl

# Coverage of the tests. Needs cargo-llvm-cov.
cover:
	$(CARGO) llvm-cov --workspace --summary-only

# The demo in containers, with Prometheus. See compose.yaml.
up:
	docker compose up --build --detach

down:
	docker compose down --volumes

clean:
	$(CARGO) clean
