# One virtual environment, one wheel, everything else follows. `make` alone prints what there is.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PEERS := $(VENV)-peers
GPU := $(VENV)-gpu
SOURCES := $(shell git ls-files --cached --others --exclude-standard -- python rust Cargo.toml Cargo.lock pyproject.toml 2>/dev/null)
MARK := $(VENV)/.made

export CARGO_TERM_COLOR ?= auto

.PHONY: help demo test test-rust test-python faults lint format bench bench-gpu measure-gpu bench-peers fuzz develop clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(MARK)/venv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet 'maturin>=1.9,<2'
	mkdir -p $(MARK) && touch $@

$(MARK)/wheel: $(MARK)/venv $(SOURCES)
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist
	$(BIN)/python -m pip uninstall --quiet --yes batch-score
	$(BIN)/python -m pip install --quiet "$$(echo dist/*.whl)[demo]"
	touch $@

$(MARK)/test: $(MARK)/wheel pyproject.toml
	$(BIN)/python -m pip install --quiet --group test
	touch $@

$(MARK)/lint: $(MARK)/wheel pyproject.toml
	$(BIN)/python -m pip install --quiet --group lint
	touch $@

# An environment of its own: some peers hold others' versions back.
$(MARK)/peers: $(MARK)/wheel pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip uninstall --quiet --yes batch-score
	$(PEERS)/bin/python -m pip install --quiet --group peers "$$(echo dist/*.whl)"
	touch $@

# Likewise: there can be only one of the packages onnxruntime and onnxruntime-gpu.
$(MARK)/gpu: $(MARK)/wheel pyproject.toml
	$(PYTHON) -m venv $(GPU)
	$(GPU)/bin/python -m pip install --quiet --upgrade pip
	$(GPU)/bin/python -m pip uninstall --quiet --yes batch-score
	$(GPU)/bin/python -m pip install --quiet "$$(echo dist/*.whl)[gpu]" onnx
	touch $@

demo: $(MARK)/wheel ## build, install into .venv, and score real images with a model and with a script
	$(BIN)/batch-score demo demo

test: test-rust test-python ## all tests, Rust and Python; BATCH_SCORE_EFFORT=ci or full for more examples

test-rust: ## the tests of the core
	cargo test --release --locked --quiet

test-python: $(MARK)/test ## the tests of the package, on the installed wheel
	$(BIN)/python -m pytest

faults: $(MARK)/test ## kill, interrupt and damage runs some thousand times; the last lines have the numbers
	BATCH_SCORE_EFFORT=full $(BIN)/python -m pytest tests/faults --durations=5

lint: $(MARK)/lint ## format, lints, types, and the stub of the native module
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest batch_score._native --mypy-config-file pyproject.toml --allowlist tests/stubtest.allow
	cargo fmt --all --check
	cargo clippy --release --locked --all-targets --quiet -- --deny warnings

format: $(MARK)/lint ## bring all code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt --all

bench: $(MARK)/test ## the benchmarks; each checks its answers
	$(BIN)/python -m pytest benches --benchmark-only --benchmark-columns=min,median,rounds

bench-gpu: $(MARK)/wheel ## jobs on one GPU against the model fed from memory; says so and ends where there is none
	@if $(BIN)/batch-score gpus --json | grep -q '"GPU-'; then $(MAKE) --no-print-directory measure-gpu; \
	else echo 'bench-gpu: skipped, because there is no GPU; `batch-score gpus` tells more'; fi

measure-gpu: $(MARK)/gpu
	$(GPU)/bin/python -m benches.gpu $(ARGUMENTS)

bench-peers: $(MARK)/peers ## the same work with pandas, pyarrow, polars, Daft and Ray Data; answers are compared
	$(PEERS)/bin/python -m benches.peers $(ARGUMENTS)

fuzz: ## the scanner against its slow twin, for a minute (needs cargo-fuzz and a nightly toolchain)
	cd fuzz && cargo +nightly fuzz run scan -- -max_total_time=60

develop: $(MARK)/venv ## the package in place, for work on it
	$(BIN)/python -m pip install --quiet --group test --group lint
	$(BIN)/maturin develop --release --extras demo

clean: ## remove all that was made
	rm -rf $(VENV) $(PEERS) $(GPU) dist target demo fuzz/target
