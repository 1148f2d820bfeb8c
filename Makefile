# make run   set up, then run the audio use case on its generated data set
# make test  set up, then the whole suite
# make bench ratios against peers, which get an environment of their own
# make check set up, then ruff, mypy, import-linter, documentation
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
PLUGIN_PACKAGES := $(foreach project,$(PLUGINS),$(notdir $(patsubst %/,%,$(dir $(project)))))
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMP  := $(VENV)/.installed
export MLOPS_TEST_DATA ?= $(abspath ../shared/data)

BENCH  := .venv-bench
PEERS  := .venv-peers

.PHONY: run test test-real test-faults test-parity check format docs bench clean

run: $(STAMP)
	$(BIN)/mlops run --usecase AED

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not real_data"

test-real: $(STAMP)
	$(BIN)/python -m pytest -m real_data -s

test-faults: $(STAMP)
	MLOPS_FAULT_ROUNDS=200 $(BIN)/python -m pytest --timeout 7200 -n auto tests/faults

test-parity: $(STAMP)
	MLOPS_TEST_PARITY=all MLOPS_TEST_PIPELINES=2000 MLOPS_TEST_GATES=10000 $(BIN)/python -m pytest --timeout 7200 -n auto -rP \
	  plugins/sagemaker/tests/test_parity_use_cases.py plugins/sagemaker/tests/test_parity_random.py plugins/sagemaker/tests/test_parity_gates.py

bench: $(BENCH)/.installed $(PEERS)/.installed
	@missed=0; \
	$(BENCH)/bin/python benchmarks/engines.py --ours $(BENCH)/bin --peers $(PEERS)/bin || missed=1; \
	$(BENCH)/bin/python benchmarks/hashing.py || missed=1; \
	$(BIN)/python benchmarks/upload.py --ours $(BIN) --peers $(PEERS)/bin || missed=1; \
	$(BIN)/python benchmarks/features.py || missed=1; \
	$(BIN)/python benchmarks/training_input.py || missed=1; \
	exit $$missed

$(BENCH)/.installed: $(STAMP) $(wildcard mlops_core/*.py mlops_core/*/*.py)
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip --quiet install --constraint constraints.txt --force-reinstall . numpy
	touch $@

$(PEERS)/.installed: benchmarks/peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --quiet install --requirement benchmarks/peers.txt
	touch $@

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(foreach package,$(PLUGIN_PACKAGES),MYPYPATH=plugins/$(package) $(BIN)/mypy -p mlops_$(package) &&) true
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python docs/generate.py

$(STAMP): pyproject.toml constraints.txt $(PLUGINS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mlops needs Python 3.11 or newer, not " + sys.version.split()[0] + "; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=24" "setuptools>=77" wheel
	$(PIP) install --constraint constraints.txt --config-settings editable_mode=compat --editable ".[test,check]" $(foreach project,$(PLUGINS),--editable "$(dir $(project))[test]")
	touch $@

clean:
	rm -rf $(VENV) $(BENCH) $(PEERS) .mlops .mypy_cache .ruff_cache .pytest_cache
