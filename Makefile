# make run       install, then run the audio use case on its generated data set
# make test      install, then run the tests that belong to every change
# make test-all  run everything: repetition, faults, parity, fuzzing, clean installations, SDKs, real data, mutation
# make check     lint, format, types, layers and documentation
# make format    let ruff fix and format the code
# make docs      write docs/architecture.md, docs/hooks.md, docs/cli.md and docs/reference/ from the code
# make site      build the documentation site, strictly, into build/site
# make dist      build the wheel and the sdist of every distribution into dist/
# make bench     measure ratios against peers, which get an environment of their own
# make figures   measure the accuracy on real data again (hours), and write it into the pages
# make clean     remove environments, caches, build products and the workspace .mlops
#
# PYTHON=python3.12 chooses the interpreter, VENV=.venv-312 the environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
PLUGIN_PACKAGES := $(foreach project,$(PLUGINS),$(notdir $(patsubst %/,%,$(dir $(project)))))
# Twice quiet: the installation in compat mode, which type checkers need, warns at length; errors are still shown.
PIP    := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
STAMP  := $(VENV)/.installed
# Not $(abspath ...), which takes a path with a space for two.
export MLOPS_TEST_DATA ?= $(CURDIR)/../shared/data

# Where nothing compiled is kept, each worker rewrites the assertions of every test again, and each command that a test
# starts compiles core again.
unexport PYTHONDONTWRITEBYTECODE

# The share of the full sizes that benchmarks/growth.py measures; 1 takes an hour.
GROWTH ?= 0.1
BENCH  := .venv-bench
PEERS  := .venv-peers

# With PYTHON on the command line, an environment of another version must not be used silently.
ifneq ($(filter command environment,$(firstword $(origin PYTHON))),)
CHOSEN := interpreter
endif

.DEFAULT_GOAL := run
.PHONY: help run test test-all test-real test-faults test-parity check check-lint check-format check-types check-layers \
  check-docs format docs site dist bench figures clean interpreter

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q;/^PYTHON/q' Makefile

run: $(STAMP)
	$(BIN)/mlops run --usecase AED

# A failed test is run once more, because real processes on a busy machine can miss a deadline; the summary lists it.
# make test-all, which runs nightly, repeats nothing.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --reruns 1 -rR -m "not real_data and not slow_suite"

# Every part runs, whatever the ones before it say; the last line fails when one of them failed.
test-all: $(STAMP)
	@failed=; \
	MLOPS_FAULT_ROUNDS=200 MLOPS_TEST_PARITY=all MLOPS_TEST_PIPELINES=2000 MLOPS_TEST_GATES=10000 \
	  MLOPS_TEST_CONFIGURATIONS=10000 MLOPS_TEST_CONDITIONS=10000 MLOPS_TEST_BUNDLES=300 \
	  $(BIN)/python -m pytest --timeout 7200 -n auto -m "not real_data" || failed="$$failed tests"; \
	$(BIN)/python -m pytest -m real_data -s || failed="$$failed real-data"; \
	if test -e tests/mutation.py; then $(BIN)/python tests/mutation.py || failed="$$failed mutation"; fi; \
	test -z "$$failed" || { echo "make test-all: failed:$$failed" >&2; exit 1; }

test-real: $(STAMP)
	$(BIN)/python -m pytest -m real_data -s

test-faults: $(STAMP)
	MLOPS_FAULT_ROUNDS=200 $(BIN)/python -m pytest --timeout 7200 -n auto tests/faults

test-parity: $(STAMP)
	MLOPS_TEST_PARITY=all MLOPS_TEST_PIPELINES=2000 MLOPS_TEST_GATES=10000 $(BIN)/python -m pytest --timeout 7200 -n auto -rP \
	  $(wildcard plugins/*/tests/test_parity_*.py plugins/*/tests/parity/test_parity_*.py)

bench: $(BENCH)/.installed $(PEERS)/.installed
	@missed=0; \
	$(BENCH)/bin/python benchmarks/engines.py --ours $(BENCH)/bin --peers $(PEERS)/bin || missed=1; \
	$(BENCH)/bin/python benchmarks/hashing.py || missed=1; \
	$(BENCH)/bin/python benchmarks/trust_statistics.py || missed=1; \
	$(BIN)/python benchmarks/gate_replay.py || missed=1; \
	$(BIN)/python benchmarks/growth.py --share $(GROWTH) || missed=1; \
	$(BIN)/python benchmarks/upload.py --ours $(BIN) --peers $(PEERS)/bin || missed=1; \
	$(BIN)/python benchmarks/features.py || missed=1; \
	$(BIN)/python benchmarks/training_input.py || missed=1; \
	$(BIN)/python benchmarks/tabular.py --data "$(MLOPS_TEST_DATA)" --peers $(PEERS)/bin || missed=1; \
	$(BIN)/python benchmarks/trust.py || missed=1; \
	$(BIN)/python benchmarks/triggers.py || missed=1; \
	$(BIN)/python benchmarks/drift.py || missed=1; \
	$(BIN)/python benchmarks/observers.py || missed=1; \
	$(BIN)/python benchmarks/serving.py --ours $(BIN) --peers $(PEERS)/bin || missed=1; \
	$(BIN)/python benchmarks/emit_azure.py --ours $(BIN) || missed=1; \
	$(BIN)/python benchmarks/ui.py --ours $(BIN) --peers $(PEERS)/bin || missed=1; \
	exit $$missed

figures: $(STAMP)
	$(BIN)/python benchmarks/accuracy.py --data "$(MLOPS_TEST_DATA)"

$(BENCH)/.installed: $(STAMP) $(wildcard mlops_core/*.py mlops_core/*/*.py)
	test -x $(BENCH)/bin/python || "$(PYTHON)" -m venv $(BENCH)
	$(BENCH)/bin/python -m pip --quiet install --constraint constraints.txt --force-reinstall . numpy
	touch $@

$(PEERS)/.installed: benchmarks/peers.txt
	test -x $(PEERS)/bin/python || "$(PYTHON)" -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --quiet install --requirement benchmarks/peers.txt
	touch $@

check: check-lint check-format check-types check-layers check-docs

check-lint: $(STAMP)
	$(BIN)/ruff check .

check-format: $(STAMP)
	$(BIN)/ruff format --check .

check-types: $(STAMP)
	$(BIN)/mypy
	$(foreach package,$(PLUGIN_PACKAGES),MYPYPATH=plugins/$(package) $(BIN)/mypy -p mlops_$(package) &&) true

check-layers: $(STAMP)
	$(BIN)/lint-imports

check-docs: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow_suite" tests/docs

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python docs/generate.py

site: $(STAMP)
	$(BIN)/python docs/site/build.py build/site

dist: $(STAMP)
	rm -rf dist
	for project in . $(dir $(PLUGINS)); do $(BIN)/python -m build --no-isolation --outdir dist "$$project" || exit 1; done

interpreter:
	@"$(PYTHON)" .ci/supported_python.py "$(PYTHON)" $(BIN)/python

$(STAMP): pyproject.toml constraints.txt $(PLUGINS) | $(CHOSEN)
	@"$(PYTHON)" .ci/supported_python.py "$(PYTHON)"
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install --upgrade "pip>=24" "setuptools>=77" wheel
	$(PIP) install --constraint constraints.txt --config-settings editable_mode=compat --editable ".[test,check,docs]" $(foreach project,$(PLUGINS),--editable "$(dir $(project))[test]")
	touch $@

clean:
	rm -rf $(VENV) $(BENCH) $(PEERS) .mlops .mypy_cache .ruff_cache .pytest_cache build dist
