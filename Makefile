# Everything a newcomer types. Needs python3 (3.11 or later) with venv; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test setup check format data_samples clean

help:  ## Show these targets
	@grep -E '^[a-z_]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/line.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/work.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e '.[trainer,test]'
	@touch $@ $(VENV)/line.installed

demo: $(VENV)/line.installed  ## Install the line (no torch) and inspect the sample video
	$(BIN)/inspector run --camera data_samples/line.mp4 --model data_samples/demo_model

test: $(VENV)/work.installed  ## Install what tests need and run them all
	$(BIN)/python -m pytest

setup: $(VENV)/work.installed  ## Make .venv with everything for work on the project

check: $(VENV)/work.installed  ## Formatter, linter, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/work.installed  ## Format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
