# The one entrance: `make help` explains each target.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
BENCH := $(CURDIR)/.venv-bench/bin
LAYERS := $(CURDIR)/.venv-layers/bin/python -m layers
# BitBake's user has to be able to start it, too
LAYER_PYTHON ?= /usr/bin/python3
KAS_WORK_DIR ?= $(CURDIR)
METERS ?= 48
INPUTS ?= 10000000
WORKERS ?= 2
PIP := pip install -q --disable-pip-version-check

# Debian packages that a list names; asks nobody anything
define packages
@command -v apt-get >/dev/null || { echo "make $@ needs a Debian host with apt-get" >&2; exit 1; }
@test "$$(id -u)" = 0 || { echo "make $@ installs packages: run it as root" >&2; exit 1; }
@packages=$$(grep -v '^#' $(1)); \
if test -n "$$(apt-get indextargets 'Created-By: Packages')" && ! dpkg-query -W -f '$${db:Status-Status}\n' $$packages 2>&1 | grep -qv '^installed$$'; then echo "all there"; \
else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$packages; fi
endef

.PHONY: help
help: ## Explain each target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'

.PHONY: setup
setup: $(VENV)/ready ## Install everything into .venv (the other targets do it when needed)

$(VENV)/ready: app/requirements-dev.lock app/pyproject.toml app/dcu_gurux/pyproject.toml app/neighbourhood/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) --require-hashes -r app/requirements-dev.lock
	$(BIN)/$(PIP) --no-deps --no-build-isolation -e app -e app/dcu_gurux -e app/neighbourhood
	@touch $@

.PHONY: demo
demo: $(VENV)/ready ## Collect 24 h from 48 secured meters over a simulated G3-PLC line, compare with the truth; leaves out/street.html
	@mkdir -p out
	$(BIN)/neighbourhood demo --meters $(METERS) --recording out/street.html --pty

.PHONY: live
live: $(VENV)/ready ## Keep a simulated G3-PLC street running, with the page to watch and break it, until Ctrl-C (METERS=N, PORT=8080, SPEED=5)
	$(BIN)/neighbourhood live --meters $(METERS) --port $(or $(PORT),8080) --speed $(or $(SPEED),5)

.PHONY: demo-sockets
demo-sockets: $(VENV)/ready ## The same over loopback sockets, in two processes (METERS=1000 works too)
	$(BIN)/neighbourhood demo --sockets --meters $(METERS)

.PHONY: test
test: $(VENV)/ready ## Run all tests (30 s of fuzzing, the kills and the full disk included; AGAIN=1: what failed last)
	cd app && $(BIN)/pytest -o cache_dir=$(CURDIR)/out/pytest-app $(if $(AGAIN),--last-failed --last-failed-no-failures none)

.PHONY: test-deps
test-deps: ## Install the foreign programs that tests compare ours with, on this Debian host (root; ci/test-packages.txt)
	$(call packages,ci/test-packages.txt)

.PHONY: lint
lint: $(VENV)/ready ## ruff, mypy --strict, import-linter
	cd app && $(BIN)/ruff check . ../ci ../ota && $(BIN)/ruff format --check . ../ci ../ota
	cd app && $(BIN)/mypy
	cd app && $(BIN)/lint-imports --no-cache

.PHONY: page
page: app/web/node_modules/ready ## Build the page (app/web) into app/dcu/web/page/index.html (needs Node 20.19 or later)
	cd app/web && npm run --silent build

.PHONY: page-test
page-test: app/web/node_modules/ready ## Check the page: types, unit tests, size, that a rebuild gives the same bytes, and clicks in Chromium
	cd app/web && npm run --silent check && npm run --silent unit && npm run --silent same && npm run --silent browser

app/web/node_modules/ready: app/web/package.json app/web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null || { echo "the page is built with Node 20.19 or later and npm" >&2; exit 1; }
	cd app/web && npm ci --silent
	@touch $@

.PHONY: bench
bench: $(VENV)/ready .venv-bench/ready ## Measure against the peers in one run; writes docs/benchmarks.md (root: flash wear on a loop device)
	cd ci && PYTHONPATH=$(CURDIR)/app:$(CURDIR)/ci $(BENCH)/python -m bench

.venv-bench/ready: app/requirements-bench.lock
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/$(PIP) --require-hashes -r app/requirements-bench.lock
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/ready ## Fuzz every parser with 10 million inputs each (INPUTS=N; SECONDS_TO_FUZZ=N: no longer; goes on where it was stopped)
	cd app && $(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(if $(SECONDS_TO_FUZZ),--seconds $(SECONDS_TO_FUZZ)) --figures ../docs/fuzzed.json

.PHONY: interop
interop: $(VENV)/ready ## Meet foreign stacks, each as client and as server: gurux-dlms, the Gurux Java library, jDLMS (needs Java and Maven)
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make interop needs Java (17 or later) and Maven: apt-get install default-jdk-headless maven" >&2; exit 1; }
	cd app && $(BIN)/pytest tests/interop -v

.PHONY: conformance
conformance: $(VENV)/ready ## Run the tests that claim conformance, and write docs/conformance.md (with Java and Maven: its peers, too; AGAIN=1: what failed last, once more)
	cd app && $(BIN)/pytest -q --conformance ../docs/conformance.md $(if $(AGAIN),--conformance-again) tests

.PHONY: lock
lock: $(VENV)/ready ## Resolve the dependencies anew into hash-pinned locks (needs uv)
	cd app && for set in requirements requirements-dev requirements-bench requirements-layers; do \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate $$set.in -o $$set.lock; done

.venv-layers/ready: app/requirements-layers.lock
	$(LAYER_PYTHON) -m venv .venv-layers
	.venv-layers/bin/$(PIP) --require-hashes -r app/requirements-layers.lock
	@touch $@

.PHONY: layer-lint
layer-lint: .venv-layers/ready ## Check the Yocto layers without OpenEmbedded: kas, recipes, licences, versions, payload (under a minute)
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci $(LAYERS) lint
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci $(CURDIR)/.venv-layers/bin/python -m pytest -q -p no:cacheprovider -c /dev/null --rootdir . layers/tests

.PHONY: layer-manifest
layer-manifest: .venv-layers/ready ## Take new digests of changed payload files into meta-grid-dcu/payload.manifest
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci $(LAYERS) manifest

.PHONY: layer-check
layer-check: .venv-layers/ready ## Ask BitBake itself, given the upstream layers (docs/yocto.md; PARTS=…, USER_FOR_BITBAKE=name where root runs it)
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci $(LAYERS) check --work $(KAS_WORK_DIR) $(addprefix --user ,$(USER_FOR_BITBAKE)) \
	  $(addprefix --kernel ,$(KERNEL_SOURCE)) $(addprefix --uboot ,$(UBOOT_SOURCE)) $(addprefix --world ,$(WORLD)) $(PARTS)

# Fragments of a build: kas.yml:layers/kas/board-$(BOARD).yml:layers/kas/OPTION.yml…
BOARD ?= qemuarm64
KAS_FILES = kas.yml:layers/kas/board-$(BOARD).yml$(foreach option,$(OPTIONS),:layers/kas/$(option).yml)

.PHONY: layer-checkout
layer-checkout: .venv-layers/ready ## Fetch the pinned upstream layers into layers/upstream
	.venv-layers/bin/kas checkout kas.yml:layers/kas/board-am335x.yml

.PHONY: layer-build
layer-build: .venv-layers/ready ## Build image, disk and update with BitBake (BOARD=qemuarm64 or am335x, OPTIONS="dev sbom", VERSION=v1.2.0)
	$(if $(VERSION),DCU_VERSION=$(VERSION:v%=%)) .venv-layers/bin/kas build $(KAS_FILES)

.PHONY: layer-upstream-check
layer-upstream-check: ## Run yocto-check-layer over both layers (hours; WORLD=needed: with a smaller world)
	$(MAKE) layer-check PARTS=upstream

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) .venv-bench .venv-layers ci/interop/jdlms/target ci/interop/gurux/target app/*.egg-info app/*/*.egg-info app/build app/web/node_modules
	find app ci -name __pycache__ -prune -exec rm -rf {} +

.PHONY: device-deps
device-deps: ## Install what the device bench needs on this Debian host (root; ci/device/packages.txt)
	$(call packages,ci/device/packages.txt)

.PHONY: device
device: $(VENV)/ready ## Build the bench's device: U-Boot, kernel, signed banks, disks (docs/bench.md; REFRESH=1: newer packages)
	cd ci && export PYTHONPATH=$(CURDIR):$(CURDIR)/ci; $(if $(REFRESH),$(BIN)/python -m device refresh &&) $(BIN)/python -m device build

.PHONY: device-run
device-run: $(VENV)/ready ## Boot the device in QEMU with a console and a street to read (METERS=N, FRESH=1: new disks)
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci $(BIN)/python -m device run --meters $(METERS) $(if $(FRESH),--fresh)

.PHONY: device-test
device-test: $(VENV)/ready ## Run the device's scenarios in QEMU (TESTS=expression: some of them; WORKERS=N devices at a time; AGAIN=1 what failed last; QUICK=1 not the long ones; DEVICE_IMAGE=dir: BitBake's image)
	cd ci && DCU_SWUPDATE_ROOT=bench $(BIN)/python -m pytest -c device/tests/pytest.ini -o cache_dir=$(CURDIR)/out/pytest device/tests ../app/tests/ota/test_swupdate.py --durations=0 $(if $(AGAIN),--last-failed --last-failed-no-failures none,$(if $(TESTS),-k "$(TESTS)",-n $(WORKERS)) $(if $(QUICK),-m "not long"))

.PHONY: powercut
powercut: $(VENV)/ready ## Cut the power in N states of store, environment and device (N=, SEED=, BOOTS=, LONG=1, ONLY=host|device, STATE= RECORDING=, JSON=1)
	cd ci && PYTHONPATH=$(CURDIR):$(CURDIR)/ci:$(CURDIR)/app $(BIN)/python -m device.powercut $(if $(LONG),--long) $(if $(N),--states $(N)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(BOOTS),--boots $(BOOTS)) $(if $(ONLY),--only $(ONLY)) $(if $(STATE),--state "$(STATE)") $(if $(RECORDING),--recording $(RECORDING)) $(if $(JSON),--json)

.PHONY: lastgasp-test
lastgasp-test: $(VENV)/ready ## Build and check lastgasp.ko for Debian's kernels, 6.1 to the newest, and run it in QEMU (KERNELS="6.12. 7.": some)
	cd ci && LASTGASP_KERNELS="$(KERNELS)" $(BIN)/python -m pytest -c device/lastgasp/tests/pytest.ini device/lastgasp/tests --durations=5
