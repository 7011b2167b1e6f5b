# Two commands for everybody: `make demo` and `make test`.  Each does its own set-up.
SHELL := /bin/bash
.DELETE_ON_ERROR:

# The first Python >= 3.10 on this machine; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := $(CURDIR)/.tools/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Many tests wait for processes and sockets: two for each processor.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

export PATH := $(TOOLS):$(PATH)

.PHONY: help
help:  ## Say what can be made.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.10 or newer was found. Install one, or say PYTHON=/path/to/python3." >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) could not make a virtual environment (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }

$(VENV)/demo.stamp: requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) (hash-pinned, once) ..."
	@$(PIP) install --require-hashes -r requirements/demo.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/demo.stamp
	@echo "Adding what the tests need ..."
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

.PHONY: demo
demo: $(VENV)/demo.stamp  ## A promotion becomes a build, start to end, in about a minute.  KEEP=1 leaves it running.
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

.PHONY: test
test: lint types tests  ## Lint, types, all tests with branch coverage.

.PHONY: lint
lint: $(VENV)/test.stamp tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.check_workflows

.PHONY: types
types: $(VENV)/test.stamp
	$(BIN)/mypy

.PHONY: tests
tests: $(VENV)/test.stamp tools
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report= || { \
	  echo "What failed beside others is tried once more by itself, for faults and deadlines want a quiet machine:"; \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --cov --cov-append --cov-report=; }
	@$(BIN)/coverage report --fail-under=95

.PHONY: pythons
pythons: $(VENV)/test.stamp  ## Both packages, without processes, on every other Python 3.10 to 3.13 that is here.
	@WORKERS=$(WORKERS) ./.ci/other-pythons $(BIN)/python

.PHONY: e2e
e2e: $(VENV)/test.stamp tools  ## A promotion to its end, with a real runner, engine, registry and nginx (root; minutes).
	@./.ci/install-nginx "$(CURDIR)/.tools/nginx"
	@./.ci/install-e2e
	@HANDOFF_E2E=1 $(BIN)/python -m pytest tests/e2e
	@echo "Where the time went: build/e2e/*.md"

.PHONY: tools
tools:  ## The Actions runner and linter that come as Go programs (skipped, with the reason, without Go).
	@./.ci/install-go-tools "$(TOOLS)"

.PHONY: package
package: $(VENV)/demo.stamp  ## Build dist/registry_client.pyz from the sources and the pinned wheels.
	@$(BIN)/python packaging/build_pyz.py dist/registry_client.pyz

.PHONY: requirements
requirements: $(BIN)/python  ## Resolve requirements/*.in anew into hash-pinned *.txt.
	@$(PIP) install uv
	@for name in package demo test; do \
	  constraint=; [ $$name = package ] || constraint="-c requirements/package.txt"; \
	  $(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links $$constraint requirements/$$name.in -o requirements/$$name.txt; done

.PHONY: clean
clean:  ## Remove what was made here.
	rm -rf $(VENV) .venv-* .tools build demo-run .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
