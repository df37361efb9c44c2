# Needs Go 1.26 or later, make and git. Everything else is fetched through the Go module proxy.

GOLANGCI_LINT := v2.15.0

BENCH     ?= .
BENCHTIME ?= 1s
FUZZTIME  ?= 1m
ROUNDS    ?= 5
SECTION   ?=

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

TOOLS    := $(CURDIR)/.tools
LINTER   := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT)
PATCHBAY := bin/patchbay

# The three modules, and all their packages as go.work lets one command name them.
MODULES  := . sdk/go plugins
PACKAGES := ./... ./sdk/go/... ./plugins/...

# A plugin is a folder with a manifest.
PLUGINS := $(patsubst plugins/%/manifest.json,%,$(wildcard plugins/*/manifest.json))
WASM    := $(foreach p,$(PLUGINS),plugins/$(p)/$(p).wasm)

# sources lists what is built from the folders $(1). The folders themselves are listed too, so that a file
# that was added or went away counts.
sources = $(shell find $(1) -name testdata -prune -o \( -type d -o -type f ! -name '*_test.go' ! -name '*.wasm' \) -print)
GO_MOD  := go.work go.mod go.sum sdk/go/go.mod plugins/go.mod
SDK     := $(call sources,sdk/go)
HOST    := $(call sources,host web) $(SDK) $(GO_MOD)
BUILDER := $(filter-out %_test.go,$(wildcard host/internal/plugin/*.go))

# The race detector needs a C compiler; go says 0 where there is none.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# Tests share the guests they compile, and what the engine makes of them. The server must not see the variable:
# it refuses PATCHBAY_… names that are no setting.
test bench bench-server bench-engine nightly: export PATCHBAY_TEST_CACHE ?= $(CURDIR)/.cache/test

# What git sees of the tree: names, and contents of what it knows.
tree = [ ! -e .git ] || { git status --porcelain && git diff; }

.PHONY: help build run test lint fmt bench bench-server bench-engine bench-feed nightly check clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(PATCHBAY) $(WASM) ## bin/patchbay and plugins/<name>/<name>.wasm

$(PATCHBAY): $(HOST)
	CGO_ENABLED=0 go build -o $@ ./host/cmd/patchbay
	@touch $@

# The server only runs the compiler here, so a new server alone does not make the plugins old. The touch makes
# the file newer than its folder.
define plugin
plugins/$(1)/$(1).wasm: $(call sources,plugins/$(1)) $(SDK) $(GO_MOD) $(BUILDER) | $(PATCHBAY)
	$(PATCHBAY) plugin build plugins/$(1)
	@touch $$@
endef
$(foreach p,$(PLUGINS),$(eval $(call plugin,$(p))))

run: build ## build, then serve configs/dev.yaml; needs no key and no network
	@exec $(PATCHBAY) serve --config configs/dev.yaml

test: ## every test of the three modules, with the race detector
	@$(if $(RACE),,echo 'note: no C compiler, so the tests run without the race detector';) \
	before=$$($(tree)); \
	go test $(RACE) -timeout 15m $(PACKAGES); \
	after=$$($(tree)); \
	[ "$$before" = "$$after" ] || { echo 'make test: the tests changed the tree:'; diff <(echo "$$before") <(echo "$$after"); exit 1; }; \
	[ ! -e .git ] || echo 'the tree did not change'

lint: $(LINTER) ## golangci-lint and gofmt
	@failed=0; \
	for module in $(MODULES); do \
		echo "golangci-lint $$module"; \
		(cd $$module && $(LINTER) run --config $(CURDIR)/.golangci.yml ./...) || failed=1; \
	done; \
	unformatted=$$(gofmt -s -l host plugins sdk web); \
	[ -z "$$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$$unformatted"; failed=1; }; \
	exit $$failed

$(LINTER):
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(TOOLS)/golangci-lint $@

fmt: ## format the Go files
	gofmt -s -w host plugins sdk web

bench: ## every benchmark, and a route beside 100 health calls a second; BENCH=Name, BENCHTIME=1s
	@go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem \
		$$(grep -rl --include='*_test.go' --exclude-dir=peers '^func Benchmark' host sdk plugins | xargs -n 1 dirname | sort -u | sed 's|^|./|')
	$(if $(filter .,$(BENCH)),@go run ./host/bench -rounds 2 -section health)

bench-server: ## a route beside 100 health calls a second, and the users that are carried beside those that are said
	@go run ./host/bench -rounds $(ROUNDS) -section health,capacity

# The peers are modules of their own, which only this needs.
bench-engine: ## the wasm engine against its peers, in ratios; SECTION=http,start ROUNDS=5
	@go run ./host/bench -rounds $(ROUNDS) -section '$(SECTION)'

bench-feed: ## the websocket feed with 5,000 clients, beside plain gorilla/websocket
	@go run ./host/bench/feed

# Without its bound, making one input smaller takes a whole minute.
nightly: ## every fuzz target for a minute each; FUZZTIME=1m
	@failed=0; \
	targets=$$(go test -list '^Fuzz' $(PACKAGES) | awk '/^Fuzz/ { names = names " " $$1 } \
		/^ok/ { n = split(names, list, " "); for (i = 1; i <= n; i++) print $$2, list[i]; names = "" }'); \
	while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$package" < /dev/null || failed=1; \
	done <<< "$$targets"; \
	exit $$failed

# The container's paths to the plugins lead nowhere here.
check: build ## patchbay check on each of configs/*.yaml
	@mkdir -p .cache/check; failed=0; \
	for config in configs/*.yaml; do \
		sed 's|source: /app/|source: |' $$config > .cache/check/$${config##*/}; \
		echo "$$config"; \
		$(PATCHBAY) check --config .cache/check/$${config##*/} || failed=1; \
	done; \
	exit $$failed

clean: ## remove what build, test and check made
	rm -rf bin .cache $(WASM)
