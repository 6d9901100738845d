# Two commands do everything on a fresh machine: `make atlas` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: atlas test test-all test-deep lint types check docs notebooks clean audit

atlas: $(VENV)/.installed
	$(BIN)/summand atlas

# Under 100 seconds on two cores: all but the tests marked slow, which go through whole commands and studies.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# Everything, as CI runs it.
test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# More examples of every space, and the tests that repeat others at a greater size: CI runs it every night.
test-deep: $(VENV)/.installed-dev
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

check: test-all lint types

# Known holes in what an installation brings. The data comes from the network: without one it says that it could not look.
audit: $(VENV)/.installed-dev
	$(BIN)/python packaging/audit.py

# The site, into site/: strict, so that a link that leads nowhere stops it.
docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

notebooks: $(VENV)/.installed-dev
	$(BIN)/python examples/run_notebooks.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "summand needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build site
