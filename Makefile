# The two commands of a newcomer are `make lab` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
export PATH := $(CURDIR)/.tools/node/bin:$(PATH)

UNIT_TESTS = $(shell find packages scripts -name '*.test.ts' -not -name '*.root.test.ts' -not -name '*.soak.test.ts' -not -path '*/node_modules/*' | sort)
ROOT_TESTS = $(shell find packages -name '*.root.test.ts' -not -path '*/node_modules/*' | sort)
SYSTEM_TESTS = $(shell find test/system -name '*.test.ts' | sort)
# Long faults stand beside what they harm, or, where they need a lab, in test/soak.
SOAK_TESTS = $(shell find packages -name '*.soak.test.ts' -not -path '*/node_modules/*' | sort) $(shell find test/soak -name '*.test.ts' | sort)

.PHONY: help deps build lab lab-down test test-unit test-root test-system soak bench lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deps: ## install what is needed (NO_INSTALL=1: only name what is missing)
	@scripts/deps.sh

build: deps ## generated files and BPF objects
	@scripts/build-bpf.sh

lab: build ## bring up the default lab and run its checks
	@./weft lab up
	@./weft lab check
	@./weft lab status --hints

lab-down: ## remove everything that `make lab` made
	@./weft lab down

lint: deps ## types, style, unused code, package imports, errors, events, metrics, pages, generated files
	node_modules/.bin/tsc --noEmit
	node_modules/.bin/biome ci --error-on-warnings --diagnostic-level=warn
	node_modules/.bin/knip
	node scripts/check-imports.ts
	node scripts/check-errors.ts
	node scripts/check-events.ts
	node scripts/check-metrics.ts
	node scripts/check-docs.ts
	node scripts/generate.ts --check

test: deps build lint test-unit test-root test-system ## everything, in 15 minutes at most

test-unit: deps build
	node --test --test-concurrency=2 $(UNIT_TESTS)

test-root: deps build
	node --test --test-concurrency=1 $(ROOT_TESTS)

test-system: deps build
	node --test --test-concurrency=1 $(SYSTEM_TESTS)

soak: deps build ## the long faults (SOAK_SECONDS: how long each; below 60 without those that take minutes)
	node --test --test-concurrency=1 $(SOAK_TESTS)

bench: deps build ## benchmark table; writes bench/results/latest.json
	node bench/main.ts

clean: ## remove what was built (not what was installed)
	rm -rf packages/datapath/bpf/build .build coverage
