# Needs Python 3.11 or newer, pip and make; `interop` and `bench` also Go. Everything is installed into .venv.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Enough to run the product, and quicker to have.
RUNS := $(VENV)/.runs
# Where every branch has to be taken.
EXACT := src/finial/core/*,src/finial/wire/*,src/finial/server/ca/*
# In `make soak`: inputs for each parser, and rounds of kills.
COUNT ?= 1000000
ROUNDS ?= 100
# Also there: lives of servers and agents on a simulated network.
EXAMPLES ?= 2000

.PHONY: help demo test lint conformance interop soak bench fuzz protos format clean

help:
	@echo "make demo     a server, an agent and workloads on this machine, in a minute of reading"
	@echo "make test     all tests that need nothing but Python, with the coverage gates"
	@echo "make lint     style, types, layers, sizes, generated files"
	@echo "make conformance  every requirement of the standards with the test that proves it"
	@echo "make interop  tests against SPIRE, grpc-go and SPIFFE libraries of four languages (builds its peers once; needs Go; Maven and Cargo for two of them)"
	@echo "make soak     long runs: fuzz inputs (COUNT=... for each parser), kills (ROUNDS=..., SEED=... to repeat), rotations (ROTATIONS=...)"
	@echo "make bench    figures beside SPIRE and grpc-go in the same run (needs Go; a quarter of an hour)"
	@echo "make protos   rebuild the protobuf descriptors from src/finial/wire/proto"
	@echo "make format   let ruff put the code into shape"

# Installs into the virtual environment what EXTRAS names.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Finial needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
endef

$(RUNS): EXTRAS := server,agent
$(RUNS): pyproject.toml constraints.txt
	$(install)
	touch $@

$(READY): EXTRAS := dev
$(READY): pyproject.toml constraints.txt
	$(install)
	touch $(RUNS) $@

demo: $(RUNS)
	@$(PY) -m demo

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
	$(PY) tools/conformance.py --check

conformance: $(READY)
	$(PY) tools/conformance.py --write
	@$(PY) tools/conformance.py

interop: $(READY)
	$(PY) -m pytest tests/interop

soak: $(READY)
	cd tests && $(abspath $(PY)) -m fuzz run --count $(COUNT)
	EXAMPLES=$(EXAMPLES) $(PY) -m pytest -s tests/property/test_propagation.py
	ROUNDS=$(ROUNDS) $(PY) -m pytest -s tests/fault/test_kills.py
	$(PY) -m pytest -s tests/soak

bench: $(READY)
	$(PY) -m bench.rpc
	$(PY) -m bench.standards
	$(PY) -m bench.all

protos: $(READY)
	$(PY) tools/protos.py

format: $(READY)
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
