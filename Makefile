# What can be done here. `make` alone prints the list.
#
# Nothing needs preparing: every target that builds runs tools/bootstrap first,
# which finds or installs what is missing and says so. Only target/, .tools/
# and results/runs/ are written, and git ignores all three.

.NOTPARALLEL:
.PHONY: help demo test conformance faults fuzz lint bench floor doc build clean
.DEFAULT_GOAL := help

CARGO := cargo
STEP := tools/step
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
# The steps keep the lock file as it is: what is tested is what is committed.
LOCKED := --locked

# What a release build was made from; results name it.
demo build floor faults: export MUSTER_REVISION := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## enrol 1,000 nodes over TLS on this machine and say how it went
	@tools/bootstrap 1/4
	@$(STEP) 2/4 "building (release)" $(CARGO) build --release $(LOCKED) -p provisioner -p loadgen
	@$(STEP) 3/4 "a fleet of 1,000" $(RELEASE)/loadgen run scenarios/quickstart.toml
	@tools/next-steps 4/4 $(RELEASE)

test: ## everything CI asks: format, lints, docs, example, tests
	@tools/bootstrap 1/7 --lints --tests
	@$(STEP) 2/7 "bootstrap's own tests" python3 -B tools/tests.py --quiet
	@tools/lint 3/7 4/7
	@RUSTDOCFLAGS="-D warnings" $(STEP) 5/7 "docs" $(CARGO) doc --workspace --no-deps $(LOCKED)
	@$(STEP) 6/7 "embedded node" $(CARGO) run $(LOCKED) -p server-core --example embedded
	@$(STEP) --last 7/7 "tests" $(CARGO) test --workspace --no-fail-fast $(LOCKED)

OUT := results/runs/conformance
conformance: ## hooks against real OpenBao, cfssl, step-ca, pebble: make conformance [BAO=] [CFSSL=] [STEP_CA=] [PEBBLE=]
	@tools/bootstrap 1/2 --tests
	@tools/conformance 2/2 --out $(OUT)

lint: ## format and clippy only, warnings are errors
	@tools/bootstrap 1/3 --lints
	@tools/lint 2/3 3/3

bench: ## the benchmarks of benches/
	@tools/bootstrap 1/2
	@$(STEP) 2/2 "benchmarks" $(CARGO) bench $(LOCKED) -p benches

NODES := 50000
TLS := none
ROUNDS := 20
floor: ## our nodes beside a bare client: make floor NODES=50000 [TLS=mutual] [ROUNDS=20]
	@tools/bootstrap 1/3
	@$(STEP) 2/3 "building (release)" $(CARGO) build --release $(LOCKED) -p loadgen -p benches
	@$(STEP) --last 3/3 "bare, ours, ours, bare" $(RELEASE)/floor --nodes $(NODES) --tls $(TLS) --rounds $(ROUNDS)

KILLS := 200
faults: NODES := 2000
faults: ## kill provisioners, brokers and helpers under load: make faults [KILLS=200] [NODES=2000] [SEED=7]
	@tools/bootstrap 1/3
	@$(STEP) 2/3 "building (release)" $(CARGO) build --release $(LOCKED) -p provisioner -p loadgen -p benches
	@$(STEP) --last 3/3 "$(KILLS) kills" $(RELEASE)/faults --kills $(KILLS) --nodes $(NODES) $(if $(SEED),--seed $(SEED))

SECONDS := 60
TARGETS :=
fuzz: ## the parsers of what strangers write: make fuzz [SECONDS=60] [TARGETS="request token"]
	@tools/bootstrap 1/2
	@tools/fuzz 2/2 $(SECONDS) $(TARGETS)

doc: ## the API documentation, in target/doc
	@tools/bootstrap 1/2
	@RUSTDOCFLAGS="-D warnings" $(STEP) 2/2 "docs" $(CARGO) doc --workspace --no-deps $(LOCKED)

build: ## release binaries: target/release/provisioner, target/release/loadgen
	@tools/bootstrap 1/2
	@$(STEP) 2/2 "building (release)" $(CARGO) build --release $(LOCKED) -p provisioner -p loadgen

clean: ## remove what was built, installed and measured here
	rm -rf target .tools results/runs results/up results/last-green
