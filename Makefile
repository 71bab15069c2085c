# make run    set everything up, then make the nine datasets, models and report
# make test   set everything up, then run all tests
# make test-browser  the pages of a small run in Chromium, installed where absent
# make test-slurm  the workflow and its faults on a SLURM cluster started for it
# make test-faults  kill a small run 50 times, and a watch 200 times; nothing may differ (an hour)
# make test-docs  run the commands that the documentation shows beside results (minutes)
# make package  build wheel and sdist, check them, and use them outside this folder (minutes)
# make golden  write the numbers that models and stages must keep anew, where recipes were raised
# make tune   search for better settings of the tasks that `tuning` names (some minutes)
# make docs   build the documentation site, site/index.html; warnings are errors
# make setup  prepare .venv alone

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' envs/lock.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check

export PATH := $(BIN):$(PATH)

.PHONY: run tune docs test test-docs test-browser package fuzz test-faults test-slurm setup lint clean golden
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

setup: $(READY)

$(READY): pyproject.toml envs/lock.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not there; install Python 3.11 or later, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is older than 3.11 or lacks venv; say make PYTHON=..."; exit 1; }
	@echo "Setting up .venv (some minutes the first time) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first and alone: a local CPU build is taken where there is one.
	$(PIP) install --quiet -c envs/lock.txt $(TORCH)
	$(PIP) install --quiet -c envs/lock.txt -e '.[dev]'
	touch $@

run: setup
	$(BIN)/snakemake --profile profiles/local
	@echo
	@echo "Report: $(CURDIR)/results/report/index.html"

tune: setup
	$(BIN)/snakemake --profile profiles/local tuning
	@echo
	@echo "Searches: $(CURDIR)/results/tuning"

docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "Documentation: $(CURDIR)/site/index.html"

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# SPOTMILL_PRODUCTION is a finished run of the same tasks to look at instead of a new one.
test-browser: setup
	@tests/browser/install.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/browser

test-docs: run
	SPOTMILL_RUN=$(CURDIR) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_docs_run.py

test-slurm: setup
	@tests/slurm/install.sh; status=$$?; \
	if [ $$status = 75 ]; then exit 0; elif [ $$status != 0 ]; then exit $$status; fi; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

test-faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/kill.py --kills 50
	OMP_NUM_THREADS=1 $(BIN)/python tests/watch_torment.py --kills 200

# Tools for packages have many dependencies of their own: they get an environment of their own.
package: setup
	test -x $(VENV)/package/bin/twine || { $(BIN)/python -m venv $(VENV)/package && \
		$(VENV)/package/bin/python -m pip --disable-pip-version-check install --quiet \
		-c envs/lock.txt build twine 'setuptools>=77'; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m package tests/test_package.py

golden: setup
	SPOTMILL_GOLDEN=write OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_golden.py

# Many more damaged files for every reader, drawn anew; SPOTMILL_FUZZ is how many.
fuzz: export SPOTMILL_FUZZ ?= 5000
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/test_fuzz.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

clean:
	rm -rf results logs .snakemake site
