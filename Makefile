# The one entrance: `make help` explains each target.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
METERS ?= 48

.PHONY: help
help: ## Explain each target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

.PHONY: setup
setup: $(VENV)/ready ## Install everything into .venv (done by the other targets when needed)

$(VENV)/ready: app/requirements-dev.lock app/pyproject.toml app/dcu_gurux/pyproject.toml app/neighbourhood/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r app/requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e app -e app/dcu_gurux -e app/neighbourhood
	@touch $@

.PHONY: test
test: $(VENV)/ready ## Run all tests (fuzzing for 30 s included)
	cd app && $(BIN)/pytest

.PHONY: lint
lint: $(VENV)/ready ## ruff, mypy --strict, import-linter
	cd app && $(BIN)/ruff check . ../ci && $(BIN)/ruff format --check . ../ci
	cd app && $(BIN)/mypy
	cd app && $(BIN)/lint-imports
