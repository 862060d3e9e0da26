# make demo, make test: each installs what it needs into .venv first; what is installed already is left alone.
# make install: the package with PETSc; with VENV=/opt/somewhere EDITABLE= it does without the checkout afterwards.
PYTHON ?= python3
VENV := .venv
EDITABLE := --editable
BIN := $(VENV)/bin
OUTPUT ?= demo-output
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS := 1

.PHONY: demo install test test-slow torture fuzz lint clean

demo: $(VENV)/.package
	$(BIN)/lammps-implicit demo -o $(OUTPUT) --overwrite

install: $(VENV)/.package $(VENV)/.petsc

# Tests that start ranks or watch the clock follow the others, which share the cores; those that run inside ranks do so
# under one mpirun for each number of ranks.
RANK_TESTS = $(shell grep -l "mark.parallel" tests/test_*.py)
test: $(VENV)/.dev $(VENV)/.petsc
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not alone and not slow"
	$(BIN)/python -m pytest -m "alone and not slow and parallel[1]"
	for ranks in 2 3; do \
	    $(BIN)/mpirun -n $$ranks $(BIN)/python -m pytest -m "parallel[match] and not slow" $(RANK_TESTS) || exit 1; \
	done

test-slow: $(VENV)/.dev $(VENV)/.petsc
	$(BIN)/python -m pytest -m "slow or not slow"

# Kills every command that writes at random moments; MINUTES=60 for long. The log is benchmarks/results/torture.log.
MINUTES ?= 5
torture: $(VENV)/.dev $(VENV)/.petsc
	$(BIN)/python tests/torture.py --minutes $(MINUTES)

# Hands mangled files to every reader, MINUTES for each.
fuzz: $(VENV)/.dev
	FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest -n auto --maxprocesses 4 -m slow tests/test_readers.py -rP

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	install/system_packages.sh "python3-venv=$(PYTHON) -c 'import ensurepip, venv'"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.package: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --prefer-binary $(EDITABLE) .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(BIN)/python -m pip install --quiet --prefer-binary --editable ".[dev]"
	@touch $@

$(VENV)/.petsc: install/petsc.sh | $(VENV)/.package
	install/petsc.sh $(VENV)
	@touch $@
