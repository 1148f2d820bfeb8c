# make run   set up, then run the audio use case on its generated data set
# make test  set up, then the whole suite
# make check set up, then ruff, mypy, import-linter, documentation
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
PLUGIN_PACKAGES := $(foreach project,$(PLUGINS),$(notdir $(patsubst %/,%,$(dir $(project)))))
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMP  := $(VENV)/.installed
export MLOPS_TEST_DATA ?= $(abspath ../shared/data)

.PHONY: run test test-real check format docs clean

run: $(STAMP)
	$(BIN)/mlops run --usecase AED

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not real_data"

test-real: $(STAMP)
	$(BIN)/python -m pytest -m real_data -s

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
	$(PIP) install --constraint constraints.txt --editable ".[test,check]" $(foreach project,$(PLUGINS),--editable "$(dir $(project))[test]")
	touch $@

clean:
	rm -rf $(VENV) .mlops .mypy_cache .ruff_cache .pytest_cache
