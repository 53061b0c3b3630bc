# Everything that a person or a machine runs in this repository. `make test` is the whole check, from a clean clone, with
# nothing but Go and Node on the machine; `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

GO ?= go
NODE ?= node
NPM ?= npm

GOFUMPT := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# A module of its own, since nobody but these tests needs a provider.
OIDC := authmod/oauth/oidctest

FUZZTIME ?= 10s
BENCHTIME ?= 1s
BENCH ?= .

# Runs one suite of Node's test runner inside clientjs; fails when it ran nothing or left tests out.
SUITE = scripts/node-suite

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

.PHONY: test
test: tools lint test-go test-oidc test-client test-server test-official test-browser ## check everything: style, Go, TypeScript, the official client, a browser
	@echo "make test: every suite ran and passed"

.PHONY: tools
tools: ## check that Go and Node are there and new enough
	@scripts/tools

.PHONY: lint
lint: ## gofumpt, go vet, staticcheck
	@unformatted=$$($(GO) run $(GOFUMPT) -l .); \
	if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	@echo "gofumpt: clean"
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	cd $(OIDC) && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...

.PHONY: fmt
fmt: ## format the Go files
	$(GO) run $(GOFUMPT) -w .

.PHONY: tidy
tidy: ## bring the lists of dependencies up to date, in both modules
	$(GO) mod tidy
	cd $(OIDC) && $(GO) mod tidy

.PHONY: test-go
test-go: ## the Go tests under the race detector
	$(GO) run ./scripts/gotest -race -timeout 10m ./...

.PHONY: test-oidc
test-oidc: ## sign-in by a real provider of OpenID Connect, in its own module
	cd $(OIDC) && $(GO) run github.com/mimosadb/mimosa/scripts/gotest -race -timeout 10m ./...

.PHONY: test-client
test-client: node-modules ## the client: types, committed build, size, unit tests
	cd clientjs && $(NPM) run --silent typecheck
	cd clientjs && $(NPM) run --silent check:dist
	cd clientjs && $(NPM) run --silent size
	$(SUITE) client test/unit

.PHONY: test-server
test-server: node-modules ## the client against a real server
	$(SUITE) server test/server

.PHONY: test-official
test-official: node-modules ## the official convex client, unmodified, against a real server
	$(SUITE) official test/official

.PHONY: test-browser
test-browser: node-modules bin/mimosa ## real browsers on the demonstration, and with @convex-dev/auth
	chromium=$$(scripts/chromium); \
	MIMOSA_CHROMIUM="$$chromium" MIMOSA_BIN=$(CURDIR)/bin/mimosa $(SUITE) browser test/browser; \
	$(GO) build -o bin/convexauth ./clientjs/test/convexauth/app; \
	MIMOSA_CHROMIUM="$$chromium" MIMOSA_CONVEXAUTH_SERVER=$(CURDIR)/bin/convexauth $(SUITE) convex-auth test/convexauth

# npm writes this file last, so it stands for a whole installation.
.PHONY: node-modules
node-modules: clientjs/node_modules/.package-lock.json
clientjs/node_modules/.package-lock.json: clientjs/package-lock.json
	cd clientjs && $(NPM) ci --no-audit --no-fund
	@touch $@

.PHONY: build
build: bin/mimosa ## build the program into bin/

# Go knows what is out of date better than make does.
.PHONY: bin/mimosa
bin/mimosa:
	$(GO) build -o bin/mimosa ./cmd/mimosa

.PHONY: dist
dist: node-modules ## build the client's committed files
	cd clientjs && $(NPM) run --silent build

.PHONY: run
run: ## serve the demonstration application at http://localhost:8787
	$(GO) run ./cmd/mimosa

.PHONY: bench
bench: ## run the benchmarks; BENCH=pattern BENCHTIME=2s
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
