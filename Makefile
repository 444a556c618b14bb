# Everything a newcomer types. Needs python3 (3.11 or later) with venv; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Bindings of TensorRT, without its libraries, that tests hold our calls against; skipped where there are none.
CONTRACTS := 10.16.1.11 11.4.0.106
DEMO_LINE := --size 720x1280 --ignore-below 1.5 --gray
DEMO_FIT := --weight-cap 5 --false-alarm-share 0.25 --seed 1 --escape-target 0.09
DEMO_FIRST := $(addprefix runs/demo/,damaged leaving clean edges straight more) --steps 5000 --edge-share 0.25 $(DEMO_FIT)
DEMO_SECOND := $(addprefix runs/demo/,more straight edges clean) --steps 2000 --edge-share 0.35 $(DEMO_FIT)

.PHONY: help demo test setup check format data_samples demo_models wheelhouse test_install clean

help:  ## Show these targets
	@grep -E '^[a-z_]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/line.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the line into $(VENV); this takes one to two minutes and says nothing meanwhile."
	$(PIP) -e .
	@touch $@

$(VENV)/work.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what work and tests need into $(VENV), torch included; this takes some minutes."
	$(PIP) torch
	$(PIP) -e '.[trainer,test]'
	-for release in $(CONTRACTS); do \
		$(PIP) --no-deps --upgrade --target $(VENV)/contracts/$$release tensorrt-cu13-bindings==$$release; \
	done
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

data_samples: $(VENV)/work.installed  ## Make line.mp4 and parts/ again, from their seeds
	rm -rf data_samples/line.mp4 data_samples/line.truth data_samples/parts
	$(BIN)/trainer synth data_samples/line.mp4 --frames 132 --size 720x1280 --seed 50 --speed 64
	$(BIN)/trainer synth data_samples/parts --frames 12 --size 480x640 --seed 60 --clean-share 0.25 --gray

demo_models: $(VENV)/work.installed  ## Train data_samples/demo_model and demo_model_base8 again (two hours on 2 cores)
	rm -rf runs/demo
	$(BIN)/trainer synth runs/demo/damaged $(DEMO_LINE) --frames 360 --seed 100 --clean-share 0.2 --defects 8
	$(BIN)/trainer synth runs/demo/leaving $(DEMO_LINE) --frames 140 --seed 102 --clean-share 0.3 --defects 6 --drift 0.65
	$(BIN)/trainer synth runs/demo/clean $(DEMO_LINE) --frames 140 --seed 101 --clean-share 1
	$(BIN)/trainer synth runs/demo/edges $(DEMO_LINE) --frames 200 --seed 103 --clean-share 0.4 --defects 6 --drift 0.3
	$(BIN)/trainer synth runs/demo/straight $(DEMO_LINE) --frames 300 --seed 105 --clean-share 0.9 --defects 4 --drift 0.16
	$(BIN)/trainer synth runs/demo/more $(DEMO_LINE) --frames 600 --seed 106 --clean-share 0.5 --defects 8 --drift 0.3
	$(BIN)/trainer fit $(DEMO_FIRST) --out runs/demo/first16
	$(BIN)/trainer fit $(DEMO_FIRST) --out runs/demo/first8 --base 8
	$(BIN)/trainer export runs/demo/first16 --out runs/demo/first16_model --name demo --version 5.0.0
	$(BIN)/trainer export runs/demo/first8 --out runs/demo/first8_model --name demo_base8 --version 5.0.0
	$(BIN)/trainer fit $(DEMO_SECOND) --init runs/demo/first16_model --out runs/demo/second16
	$(BIN)/trainer fit $(DEMO_SECOND) --init runs/demo/first8_model --out runs/demo/second8
	rm -rf data_samples/demo_model data_samples/demo_model_base8
	$(BIN)/trainer export runs/demo/second16 --out data_samples/demo_model --name demo --version 5.1.0
	$(BIN)/trainer export runs/demo/second8 --out data_samples/demo_model_base8 --name demo_base8 --version 5.1.0

wheelhouse: $(VENV)/line.installed  ## Collect all that an install without network needs in build/wheelhouse
	$(BIN)/python -m deploy.wheelhouse build/wheelhouse $(if $(EXTRA),--extra $(EXTRA)) $(if $(INDEX),--index $(INDEX))

test_install: $(VENV)/work.installed wheelhouse  ## Install from it for real, without a network, and run the line
	INSPECTION_WHEELHOUSE=$(CURDIR)/build/wheelhouse $(BIN)/python -m pytest tests/deploy/test_real_install.py

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
