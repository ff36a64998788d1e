# make demo   repair a synthetic stack and look at it        make test   every check, as CI does
# Both set up what they need: system libraries (through apt where permitted), .venv, the package.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
XVFB := xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24"
# Tests of windows: nothing runs beside them, since windows on one display take the focus from each other
WINDOWS := tests/widgets tests/test_demo.py
INSTALL_NEEDS := pyproject.toml constraints.txt scripts/install.sh
export PYTHON TORCH_INDEX

.PHONY: help demo test lint docs system clean

help:
	@echo "make demo    set up, repair a synthetic stack, show it in napari"
	@echo "make test    set up, run every check and all tests"
	@echo "make lint    style, types, direction of imports, plugin manifest"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove .venv and everything that was built"

demo: .venv/app.stamp
	@$(BIN)/flowinpaint demo

test: lint docs
	$(XVFB) $(BIN)/python -m pytest -n 2 --dist loadscope $(WINDOWS:%=--ignore=%)
	$(XVFB) $(BIN)/python -m pytest $(WINDOWS)

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
