# Two commands do everything: make demo, make test.
GO       ?= go
TOOL     := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s
DURATION ?= 1h
BIN      := bin/postern
export POSTERN_BIN := $(CURDIR)/$(BIN)

.PHONY: demo build testdeps test drivers s3 screenshots check race bench parity differential fuzz deps clean

demo: deps build ## the gateway with a sample database, policies and a tour
	./$(BIN) demo

CONSOLE := web/dist/index.html
$(CONSOLE): scripts/web web/package-lock.json web/index.html web/vite.config.ts $(shell find web/src web/public -type f)
	./scripts/web

build: $(CONSOLE) ## bin/postern, with the console
	$(GO) build -trimpath -o $(BIN) ./cmd/postern

deps: ## what the demo needs from the distribution
	./scripts/deps

testdeps: ## what the tests need from it
	./scripts/deps test

# The packages that take longest begin first, so that none of them is left to end alone.
test: testdeps build ## every test, against real servers and clients
	$(TOOL) gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 20m ./test ./internal/protocol/postgres ./internal/protocol/ssh ./...

drivers: build ## the tests of drivers again, with those for Java and Node
	./scripts/deps drivers
	POSTERN_DRIVERS=all $(GO) test -count=1 -timeout 10m -run '^TestDrivers' -v ./test/

s3: ## the witness in a bucket, against a server of S3 with object lock
	GOBIN=$(CURDIR)/bin $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	POSTERN_VERSITYGW=$(CURDIR)/bin/versitygw $(GO) test -tags versitygw -count=1 -timeout 5m -run S3 -v ./internal/audit/witness

screenshots: testdeps build ## pictures of every page of the console, in screenshots/
	POSTERN_SCREENSHOTS=$(CURDIR)/screenshots $(GO) test -tags screenshots -count=1 -run '^TestScreenshots$$' ./test

check: ## formatting, vet, linters
	@test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)" || { echo "run: $(TOOL) gofumpt -w ."; exit 1; }
	$(GO) vet ./...
	$(TOOL) golangci-lint run ./...

race: testdeps build ## the tests under the race detector
	$(GO) test -race -count=1 -timeout 40m ./...

bench: deps build ## ratios to a direct connection, and the hot paths
	./scripts/bench

parity: deps build ## PostgreSQL's own regression suite, directly and through the gateway
	./scripts/parity --write

differential: ## random SQL for DURATION: no secret in a masked session, no difference in an unmasked one
	./scripts/differential $(DURATION)

fuzz: ## every fuzz target for FUZZTIME
	./scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin web/dist/assets web/dist/*.html web/dist/*.svg
