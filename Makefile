# Lazuli's tasks. `make` alone lists them.
.DEFAULT_GOAL := help
FUZZTIME ?= 5m
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## List the tasks.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/lazuli, static.
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/lazuli ./cmd/lazuli

.PHONY: demo
demo: ## Run Lazuli on the built-in Azure.
	go run ./cmd/lazuli demo

.PHONY: test
test: vet node otelcol victorialogs ## Run every test, and against what node, otelcol and victorialogs bring; with the race detector, but for e2e.
	go test -race -shuffle=on -timeout 20m $$(go list ./... | grep -v '/e2e$$')
	go test -shuffle=on -timeout 20m ./e2e

.PHONY: race
race: node otelcol victorialogs ## Run e2e with the race detector, in the tests and in the program: takes a quarter of an hour.
	go test -race -shuffle=on -timeout 90m -v ./e2e

.PHONY: vet
vet: ## Check formatting and suspicious code.
	@unformatted=$$(gofmt -l cmd internal e2e); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...

.PHONY: node
node: ## Install what the tests take from npm: Azurite and the Event Hubs client.
	npm ci --prefix e2e --no-audit --no-fund --loglevel=error
	npm ci --prefix e2e/js --no-audit --no-fund --loglevel=error

.PHONY: otelcol
otelcol: ## Build the OpenTelemetry Collector's OTLP receiver, which tests send to.
	go build -C e2e/otelcol -o otelcol .

.PHONY: victorialogs
victorialogs: ## Build VictoriaLogs, a database that tests send to and ask.
	CGO_ENABLED=0 go build -C e2e/victorialogs -o victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs

.PHONY: lint
lint: ## Run golangci-lint (built on first use, which takes minutes).
	go run $(GOLANGCI) run
	cd e2e/otelcol && go run $(GOLANGCI) run -c ../../.golangci.yml

.PHONY: bench
bench: ## Measure; docs/benchmarks.md explains the output.
	go run ./e2e/bench

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (5m) each.
	@grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u | while read -r dir; do \
		grep -h '^func Fuzz' $$dir/*_test.go | sed 's/func \(Fuzz[A-Za-z0-9_]*\).*/\1/' | while read -r target; do \
			echo "$$dir $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir || exit 1; \
		done || exit 1; \
	done

.PHONY: gen
gen: ## Rewrite what is generated: option tables in READMEs, golden files.
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' internal | xargs -n1 dirname | sort -u | sed 's,^,./,') \
		-run 'Golden|Corpus|Reference|Readme|Docs' -update

.PHONY: clean
clean: ## Remove what was built and installed.
	rm -rf bin e2e/node_modules e2e/js/node_modules e2e/otelcol/otelcol e2e/victorialogs/victoria-logs
