# Needs Python 3.11 or newer, pip and make; `interop` and `bench` also Go. Everything is installed into .venv.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Where every branch has to be taken.
EXACT := src/finial/core/*,src/finial/wire/*,src/finial/server/ca/*
# Inputs for each parser in `make soak`.
COUNT ?= 1000000

.PHONY: help test lint interop soak bench fuzz protos format clean

help:
	@echo "make test     all tests that need nothing but Python, with the coverage gates"
	@echo "make lint     style, types, layers, sizes, generated files"
	@echo "make interop  tests against SPIRE, go-spiffe, py-spiffe, grpc-go (builds its peers once; needs Go)"
	@echo "make soak     long runs: a million fuzz inputs for each parser (COUNT=... for another number)"
	@echo "make bench    figures beside a grpc-go server in the same run (needs Go)"
	@echo "make protos   rebuild the protobuf descriptors from src/finial/wire/proto"
	@echo "make format   let ruff put the code into shape"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Finial needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

test: $(READY)
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest
	$(PY) -m coverage report --include='$(EXACT)' --fail-under=100
	$(PY) -m coverage report --omit='$(EXACT)' --fail-under=90
	$(PY) -m pytest tests/e2e tests/fault

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) tools/sizes.py
	$(PY) tools/protos.py --check

interop: $(READY)
	$(PY) -m pytest tests/interop

soak: $(READY)
	cd tests && $(abspath $(PY)) -m fuzz --target all --count $(COUNT)

bench: $(READY)
	$(PY) -m bench.rpc

protos: $(READY)
	$(PY) tools/protos.py

format: $(READY)
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
