# Every target makes .venv and installs into it on first use. Programs are started as modules: their own
# scripts in .venv/bin name the folder that they were installed in, which may have another name by now.
PYTHON ?= python3
PROFILE ?= smoke
ONLY ?=
CORES ?= 2
BIN := .venv/bin
READY := .venv/.installed
CLUSTER := .venv/.cluster
DEV := .venv/.dev
# The chapters of _toc.yml: another notebook that lies beside them is nobody's business but its owner's.
NOTEBOOKS = $(wildcard $(shell sed -n 's|.*file: chapters/\(.*\)|notebooks/\1.ipynb|p' _toc.yml))
CODE = benchmarks cifar_utils reproduce tests $(NOTEBOOKS)

.PHONY: help book pdf reproduce test test-slurm bench lint publish readme clean

help:
	@echo "make book                       render the published chapters into _build/html"
	@echo "make pdf                        the same as one file, _build/html/five-reports-rerun.pdf; needs Chromium"
	@echo "make reproduce PROFILE=smoke    execute every notebook, render these runs into _build/PROFILE"
	@echo "     PROFILE=quick|full         real data on two CPU cores | on one GPU; ONLY=notebook for one"
	@echo "make test                       unit tests and every notebook at its defaults"
	@echo "make test-slurm                 notebooks and trainings as jobs of Slurm: cancelled, requeued, out of time"
	@echo "make bench                      measure speed, write results/benchmarks.json"
	@echo "make publish PROFILE=quick      copy finished runs into the book, refresh the README's table"
	@echo "make lint                       ruff mends what it can, pyright says what types do not fit"

$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} is too old or too new; expected 3.11 to 3.13. Choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(CLUSTER): $(READY) requirements-cluster.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-cluster.txt
	@touch $@

$(DEV): $(READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

book: $(READY)
	@$(BIN)/python -m reproduce book

pdf: $(READY)
	@$(BIN)/python -m reproduce book --pdf

# A notebook that fails does not keep the others, or the book of the others, from being made.
reproduce: $(READY)
	@$(BIN)/python -m reproduce reproduce --profile $(PROFILE) --cores $(CORES) $(if $(ONLY),--only $(ONLY))

# One process a core with one thread each; a notebook, or a file of tests, is one process's from end
# to end. In the order given: notebooks last, all about as long, so that the processes end together.
test: $(READY)
	$(BIN)/python -m ruff check $(CODE)
	$(BIN)/python -m ruff format --check --quiet $(CODE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder \
	    --nbval-lax --nbval-cell-timeout=120 tests $(NOTEBOOKS)

test-slurm: $(CLUSTER)
	@$(BIN)/python -m tests.slurm

bench: $(READY)
	$(BIN)/python -m benchmarks.run

publish: $(READY)
	$(BIN)/python -m reproduce publish --profile $(PROFILE:smoke=quick) $(ONLY)
	$(BIN)/python -m reproduce readme

readme: $(READY)
	$(BIN)/python -m reproduce readme

# pyright takes half a minute of one core, so it is not a part of make test.
lint: $(DEV)
	$(BIN)/python -m ruff check --fix $(CODE)
	$(BIN)/python -m ruff format $(CODE)
	$(BIN)/python -m basedpyright

clean:
	rm -rf _build runs .snakemake
