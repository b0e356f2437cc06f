# Needs make and Python 3.11 or newer; everything else is installed, pinned and hash-checked, into
# .venv on the first call. PYTHON=/path/to/python chooses the Python.

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 60
MUTATE_SECONDS ?= 1200
TEST_PROCESSES ?= 4
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: demo test bench lint fuzz faults soak mutate lock clean help

demo: $(RUNTIME)  ## a synthetic city, the whole chain on it; results in demo/
	@$(BIN)/rsd demo demo

test: $(DEVELOPMENT)  ## the whole test suite, in up to TEST_PROCESSES=4 processes
	@$(BIN)/python -m pytest -n auto --maxprocesses $(TEST_PROCESSES) --dist loadscope

bench: $(DEVELOPMENT)  ## the benchmarks, side by side with other ways
	@$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only -s

lint: $(DEVELOPMENT)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fuzz: $(DEVELOPMENT)  ## property tests with 2,000 examples; atheris FUZZ_SECONDS=60 a target
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests -m "hypothesis or fuzz"
	@$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

faults: $(DEVELOPMENT)  ## a fault at every step of every job, where `make test` visits a spread of them
	@RSD_FAULTS=all $(BIN)/python -m pytest tests/faults

soak: $(DEVELOPMENT)  ## random faults for SOAK_SECONDS=60 from a printed seed; SEED=n repeats one
	@SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python tests/faults/soak.py

mutate: $(DEVELOPMENT)  ## break the law in small places; MUTATE_SECONDS=1200 of mutants, 85 % must be noticed
	@$(BIN)/python tools/mutate.py --seconds $(MUTATE_SECONDS)

lock: $(DEVELOPMENT)  ## renew the hashes and pin what is new; UPGRADE=1 takes the newest versions
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean:  ## remove all that make made, .venv and demo/ included
	rm -rf $(VENV) demo build dist *.egg-info .benchmarks .fuzz .hypothesis .mypy_cache \
		.pytest_cache .ruff_cache benchmarks/data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | while IFS='	' read -r target what; do \
		printf 'make %-6s %s\n' "$$target" "$$what"; done

$(BIN)/python:
	@PYTHON='$(PYTHON)' sh tools/make_venv.sh $(VENV)

$(RUNTIME): constraints.txt pyproject.toml | $(BIN)/python
	@echo "installing what rsd needs to run (once)"
	@$(PIP) --require-hashes --only-binary=:all: -r constraints.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): constraints-dev.txt $(RUNTIME)
	@echo "installing the test tools (once)"
	@$(PIP) --require-hashes --only-binary=:all: -r constraints-dev.txt
	@touch $@
