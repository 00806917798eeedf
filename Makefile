# make demo    set everything up and run the main job once
# make test    set everything up and run all tests
# Both work on a machine that has Python 3.11 or newer and make; a second run reuses the set-up.
# With a GPU-less Linux machine, PIP_EXTRA_INDEX_URL may name PyTorch's index of CPU wheels to save a large download.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export SNNC_LAVA_DIR := $(CURDIR)/.lava

.PHONY: demo test lint numbers setup clean

demo: setup
	$(BIN)/snnc demo

test: setup
	SNNC_REQUIRE_LAVA=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && mkdir -p build/typed/snnc
	ln -s $(CURDIR)/toolchain/* $(CURDIR)/targets $(CURDIR)/models build/typed/snnc  # as it is imported
	MYPYPATH=build/typed $(BIN)/mypy -p snnc

numbers: setup
	$(BIN)/python -m tests.experiments.digits
	$(BIN)/python -m tests.experiments.tickets --suite digits
	$(BIN)/python -m tests.experiments.networks
	$(BIN)/python -m tests.experiments.resets
	$(BIN)/python -m tests.experiments.lsnn_smnist
	$(BIN)/python -m tests.experiments.pilotnet
	$(BIN)/python -m tests.instances.score --write
	$(BIN)/python -m tests.benchmarks.simulator --write

setup: $(VENV)/ready $(SNNC_LAVA_DIR)/snnc-lava.json

# Made last, so that an interrupted set-up starts again.
$(VENV)/ready: pyproject.toml constraints.txt tests/differential/peers.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "snnc needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt setuptools setuptools_scm wheel
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,events]'
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --requirement tests/differential/peers.txt
	touch $@

# The command itself knows whether anything is to be done.
$(SNNC_LAVA_DIR)/snnc-lava.json: $(VENV)/ready targets/lava/requirements.txt targets/lava/requirements-lava.txt
	$(BIN)/snnc lava setup
	touch $@

clean:
	rm -rf $(VENV) $(SNNC_LAVA_DIR) build
