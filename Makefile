# Everything a fresh machine needs: `make demo` shows the platform at work, `make test` runs the tests.
PYTHON ?= python3
BIN := .venv/bin
CODE := src tests $(wildcard benchmarks)
SIDE_BY_SIDE := tests/unit tests/property tests/contract
ONE_BY_ONE := tests/faults tests/end_to_end

MINUTES ?= 10

.PHONY: help install demo test test-engines soak soak-points lint format bench clean

help:
	@echo "make install  set up .venv with the pinned packages"
	@echo "make demo     train a model through a crash, host it, serve it, and write a report (report/)"
	@echo "make test     unit, property, contract, fault and end-to-end tests, with coverage"
	@echo "make test-engines  tests against servers that Debian has (PostgreSQL); skips what is missing, and says so"
	@echo "make soak     random work and random kills on a real platform: MINUTES=10 SEED=…"
	@echo "make soak-points  a control plane killed at every point, at each of its passes"
	@echo "make lint     ruff, mypy --strict, import-linter"
	@echo "make bench    the benchmarks under benchmarks/, each with --quick"

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Ampacity needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/ampacity demo --report report

test: install
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --numprocesses 2 --dist worksteal --cov --cov-report=
	$(BIN)/python -m pytest $(ONE_BY_ONE) --cov --cov-append --cov-report=term:skip-covered

test-engines: install
	$(BIN)/python -m pytest tests/engines

soak: install
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

soak-points: install
	$(BIN)/python tests/soak/points.py

lint: install
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: install
	@for run in benchmarks/*/run.py; do [ -e "$$run" ] && $(BIN)/python "$$run" --quick; done; true

clean:
	rm -rf .venv report .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
