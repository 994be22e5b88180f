# make quickstart: from a clone to a trained model's table and report.html (2 cores, no GPU)
# make test:       the test suite;  make test-slow: the heavy checks
# make chaos:      random kills over trainings and builds (20 minutes)
# make fuzz:       5,000 mutated inputs for every reader, memory and time capped (hours)
# make lint:       format, lint, types
# make bundle:     the model that comes with the package (an hour or two); AGAINST=photographs
#                  adds how surely it tells such a folder unlike its own
# Each takes PYTHON=python3.13, say: in an environment of its own, .venv-3.13

PYTHON ?= python3.11
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONSTRAINTS := constraints/$(VERSION).txt
ifeq ($(wildcard $(CONSTRAINTS)),)
$(error PYTHON=$(PYTHON) is not one of Python $(patsubst constraints/%.txt,%,$(sort $(wildcard constraints/*.txt))))
endif
VENV ?= $(patsubst .venv-3.11,.venv,.venv-$(VERSION))
DATA ?= data
RUN ?= runs/quickstart
FULL ?= runs/partworld_full
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)

.PHONY: quickstart test test-slow chaos fuzz lint bundle

quickstart: $(VENV)/.core
	$(BIN)/unires build partworld --data_dir $(DATA)
	$(BIN)/python train.py --config=configs/quickstart.py --workdir=$(RUN) --config.data.dir=$(DATA)
	$(BIN)/python evaluate.py --workdir=$(RUN)
	$(BIN)/unires calibrate --checkpoint $(RUN)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -m chaos -s

fuzz: $(VENV)/.dev
	$(BIN)/python -m pytest -m fuzz -s

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bundle: $(VENV)/.core
	$(BIN)/unires build partworld --data_dir $(DATA)/full --scenes 24000
	$(BIN)/python train.py --config=configs/partworld_full.py --workdir=$(FULL) --config.data.dir=$(DATA)/full
	$(BIN)/python evaluate.py --workdir=$(FULL)
	$(BIN)/unires calibrate --checkpoint $(FULL) \
		--check partworld:testA partworld:testB partworld:val_novel $(if $(AGAINST),--against '$(AGAINST)')
	$(BIN)/unires export --checkpoint $(FULL) --to safetensors --dtype bfloat16 \
		--out unires_jax/serving/bundled --overwrite

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP) -e '.[train]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[dev]'
	touch $@
