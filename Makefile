# stompede: `make run` starts a broker, `make test` tests everything on a fresh machine.

.PHONY: run page test release bench bench-micro bench-peers fmt lint
.DELETE_ON_ERROR:

PAGE_SOURCES := $(shell find web/src -type f) web/build.mjs web/tsconfig.json web/package.json

# Builds the page and starts the broker. Arguments: make run ARGS="serve --http-port 9000"
run: page
	cargo run --profile quick -- $(ARGS)

# The page that is embedded in the binary; built again only when a source is newer.
page: web/dist/index.html

web/dist/index.html: $(PAGE_SOURCES) web/node_modules/.package-lock.json
	cd web && npm run build

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci
	@touch $@

# Installs what the tests need, then runs all suites: Rust, the page, and real clients under Node, Python, Chromium.
# Some of them only: make test SUITES="node python"
test:
	@.ci/prepare
	@$(MAKE) --no-print-directory page
	@.ci/test $(SUITES)

# The broker for production, trained by the load program: target/release/trained/stompede. A quarter of an hour on two cores.
release: page
	python3 benches/suite/release.py

# Broker against floor, by load program: a quarter of an hour. Some of it: make bench ARGS="--only fanout,chat --pairs 2"
bench:
	python3 benches/suite $(ARGS)

# The parts in memory: time by criterion, and instructions (with valgrind).
bench-micro:
	cargo bench -p stompede-protocol
	cargo bench --bench broker
	cargo bench --profile cost --bench cost

# Installs RabbitMQ (Debian) and runs the same scenarios on it, on the broker and on the floor.
bench-peers:
	benches/peers/run $(ARGS)

fmt:
	cargo fmt --all

lint: page
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd web && npm run check
