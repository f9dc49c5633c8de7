# One command for each habit. `make run` needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet

.PHONY: run test coverage check format bench soak lock schema clean

run: $(VENV)/run.stamp  ## serve gateway.yaml on 127.0.0.1:8000
	$(BIN)/gateway serve

test: $(VENV)/dev.stamp  ## everything that can be tested here; with CI=true nothing may be skipped
	sh tests/setup.sh
	$(BIN)/python -m pytest

coverage: $(VENV)/dev.stamp  ## the same, and which lines it did not reach; takes half as long again
	sh tests/setup.sh
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(VENV)/dev.stamp  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp  ## ratios to plain pydantic-ai adapters, measured side by side
	$(BIN)/python -m benchmarks

soak: $(VENV)/dev.stamp  ## minutes of faults between two processes and a Redis; nothing may be lost
	$(BIN)/python -m benchmarks.soak --minutes 3

schema: $(VENV)/dev.stamp  ## after a change to gateway/config.py
	$(BIN)/gateway schema > gateway.schema.json
	$(BIN)/gateway schema --markdown > docs/configuration.md

lock: $(VENV)/dev.stamp  ## after a change to the dependencies in pyproject.toml
	$(LOCK) --extra openai --group build -o requirements/run.txt
	$(LOCK) --extra mcp --extra openai --extra postgres --extra redis --group dev -c requirements/run.txt -o requirements/dev.txt

clean:
	rm -rf $(VENV) build dist tests/*/node_modules examples/*/node_modules examples/*/dist .coverage* .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Hashes are checked for every file; the gateway itself is then linked in without asking an index for anything.
$(VENV)/run.stamp: $(VENV)/bin/python requirements/run.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python requirements/dev.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@ $(VENV)/run.stamp
