# `make` or `make help` lists what there is. Everything happens in this folder: .venv and .make; `make clean` removes both.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: tests wait for servers half of their time.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: constraints.txt pyproject.toml tools/setup-venv
	tools/setup-venv $(VENV)
	touch $@

# Less than half of it, for those who only want to look.
$(VENV)/.demo: constraints.txt pyproject.toml tools/setup-venv
	tools/setup-venv $(VENV) gateway falcon
	touch $@

# The system first: python3-venv, which the environment needs, is one of its packages. No stamp for it: looking is
# quick, and a server that was removed since must be named.
.PHONY: ready
ready:
	@tools/setup-system
	@$(MAKE) --no-print-directory $(VENV)/.ready

.PHONY: demo
demo: ## serve examples/orders.py at https://localhost:8443 and print curl lines
	@test $(VENV)/.ready -nt constraints.txt || $(MAKE) --no-print-directory $(VENV)/.demo
	@exec $(BIN)/python tools/demo.py

.PHONY: test
test: ready ## all tests but the long ones
	$(BIN)/python tools/tests.py -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

.PHONY: test-long
test-long: ready ## the long ones: load, fuzz, matrices
	@status=0; \
	run() { $(BIN)/python tools/tests.py --timeout=900 "$$@" $(PYTEST_ARGS) || [ $$? = 5 -a -n "$(PYTEST_ARGS)" ] || status=1; }; \
	run -m "long and matrix" -n $(WORKERS) --dist worksteal; \
	run -m "long and not matrix"; \
	exit $$status

.PHONY: coverage
coverage: ready ## all tests but the long ones, with branch coverage of every process
	@mkdir -p .make/coverage
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/.ready ## ruff, mypy, import-linter, and what tools/check_repository.py knows
	@status=0; \
	run() { echo "== $$*"; "$$@" || status=1; }; \
	run $(BIN)/ruff check; \
	run $(BIN)/ruff format --check; \
	run $(BIN)/mypy; \
	run $(BIN)/lint-imports; \
	run $(BIN)/python tools/check_repository.py; \
	run $(BIN)/python tools/reference.py --check; \
	exit $$status

.PHONY: format
format: $(VENV)/.ready ## let ruff format everything
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# One server that is compared with: openapi-core wants older versions of what the tests use.
.make/openapi-core: bench/openapi-core.txt $(VENV)/.ready
	rm -rf $@
	$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps --only-binary :all: \
	    --target $@ -r bench/openapi-core.txt
	touch $@

.PHONY: bench
bench: ready .make/openapi-core ## compare with other servers; writes bench/results/
	$(BIN)/python -m bench $(BENCH_ARGS)

.PHONY: docs
docs: $(VENV)/.ready ## write the reference pages from the source
	$(BIN)/python tools/reference.py

.PHONY: dist
dist: $(VENV)/.ready ## build the wheel and the source archive into dist/
	$(BIN)/python -m hatchling build

# uv stays out of constraints.txt: nothing but this target needs it.
.PHONY: constraints
constraints: $(VENV)/.ready ## resolve all extras anew into constraints.txt, with hashes
	test -x .make/uv/bin/uv || { $(BIN)/python -m venv .make/uv && .make/uv/bin/python -m pip --quiet install 'uv>=0.9'; }
	.make/uv/bin/uv pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade \
	    --custom-compile-command 'make constraints' --output-file constraints.txt

.PHONY: clean
clean: ## remove .venv, caches, results and the demo's state
	rm -rf $(VENV) .make .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* dist build site
	find src tests tools examples bench -name __pycache__ -type d -prune -exec rm -rf {} +
