# make demo   repair a synthetic stack and look at it        make test   every check, as CI does
# Both set up what they need: system libraries (through apt where permitted), .venv, the package.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Two files at a time; each of the two processes has a display of its own (tests/conftest.py)
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
# Tests of windows: nothing heavy runs beside them
WINDOWS := tests/widgets
INSTALL_NEEDS := pyproject.toml constraints.txt scripts/install.sh
export PYTHON TORCH_INDEX
# Keep bytecode, whatever the environment says: else every process that a test starts compiles anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint docs system clean

help:
	@echo "make demo    set up, repair a synthetic stack, show it in napari"
	@echo "make test    set up, run every check and all tests"
	@echo "make lint    style, types, direction of imports, plugin manifest"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove .venv and everything that was built"

demo: .venv/app.stamp
	@$(BIN)/flowinpaint demo

test: .venv/dev.stamp
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint docs
	$(PYTEST) $(WINDOWS:%=--ignore=%)
	$(PYTEST) $(WINDOWS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari-flowinpaint

docs: .venv/dev.stamp
	$(BIN)/mkdocs build --strict --quiet

.venv/app.stamp: $(INSTALL_NEEDS) | system
	scripts/install.sh app

.venv/dev.stamp: $(INSTALL_NEEDS) | system
	scripts/install.sh dev

system:
	@scripts/system.sh

clean:
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
