# make demo   fresh machine: build what is missing, then run the main job without key, GPU or network
# make test   fresh machine: build what is missing, then the whole test suite, as CI does
# make help   the rest

SHELL := /bin/bash
PYTHON := .venv/bin/python
# Builds of different things do not wait for each other; each script is silent when there is nothing to do.
MAKEFLAGS += --jobs=3 --no-print-directory

.PHONY: help
help:
	@echo "make demo        build the environments, then the main job on the embedded default"
	@echo "make test        build what is missing, then all tests          (what CI runs)"
	@echo "make test-fast   the tests that take seconds, for daily work"
	@echo "make check       lint, format, types, shell syntax; changes nothing"
	@echo "make fix         apply what lint and format can mend"
	@echo "make bench       every measured promise, met or missed, into benchmarks/RESULTS.md"
	@echo "make coverage    all tests, and which lines of the package none of them reaches"
	@echo "make mutation    faults put into the code at random: how many do the tests notice?"
	@echo "make setup       the agent's environment only (.venv)"

.PHONY: demo
demo: TEMPLATES := sae
demo: environments tex sandbox
	$(PYTHON) launch_scientist.py --idea ratio_ranked_orthogonal_sae

.PHONY: test test-fast
test: environments tex sandbox chromium slurm
	$(PYTHON) -m pytest --numprocesses=2 --dist=worksteal

test-fast: environments
	$(PYTHON) -m pytest --numprocesses=2 --dist=worksteal -m "not slow"

.PHONY: check fix
check: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy ai_scientist launch_scientist.py
	@for script in scripts/*.sh .ci/run; do bash -n $$script || exit 1; done

fix: setup
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: bench
bench: environments tex sandbox
	$(PYTHON) -m benchmarks

.PHONY: coverage mutation
export COVERAGE_FILE := $(CURDIR)/build/coverage/data
coverage: environments tex sandbox chromium slurm
	@rm -rf build/coverage && mkdir -p build/coverage
	$(PYTHON) -m coverage run -m pytest --numprocesses=2 --dist=worksteal
	@$(PYTHON) -m coverage combine --quiet && $(PYTHON) -m coverage report --skip-covered

mutation: environments
	@scripts/mutation.sh

# --- what is built, each by an idempotent script

.PHONY: setup environments tex sandbox chromium slurm
setup:
	@scripts/setup-python.sh

environments: setup
	@PYTHONPATH=. $(PYTHON) scripts/build_environments.py $(TEMPLATES)

tex sandbox chromium slurm:
	@scripts/setup-$@.sh
