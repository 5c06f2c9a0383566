# Every target makes .venv and installs into it on first use.
PYTHON ?= python3
PROFILE ?= smoke
ONLY ?=
CORES ?= 2
BIN := .venv/bin
READY := .venv/.installed

.PHONY: help book reproduce test bench lint publish readme clean

help:
	@echo "make book                       render the published chapters into _build/html"
	@echo "make reproduce PROFILE=smoke    execute every notebook, render these runs into _build/PROFILE"
	@echo "     PROFILE=quick|full         real data on two CPU cores | on one GPU; ONLY=notebook for one"
	@echo "make test                       unit tests and every notebook at its defaults"
	@echo "make bench                      measure speed, write results/benchmarks.json"
	@echo "make publish PROFILE=quick      copy finished runs into the book, refresh the README's table"
	@echo "make lint                       ruff"

$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} is too old or too new; expected 3.11 to 3.13. Choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: $(READY)
	@$(BIN)/python -m cifar_utils book

# A notebook that fails does not keep the others, or the book of the others, from being made.
reproduce: $(READY)
	@$(BIN)/snakemake --quiet rules --cores $(CORES) --resources gpu=1 --keep-going --rerun-incomplete \
	    --config profile=$(PROFILE) $(if $(ONLY),only=$(ONLY)); status=$$?; \
	$(BIN)/python -m cifar_utils book --profile $(PROFILE) && exit $$status

test: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=300 notebooks

bench: $(READY)
	$(BIN)/python benchmarks/run.py

publish: $(READY)
	$(BIN)/python -m cifar_utils publish --profile $(PROFILE) $(ONLY)
	$(BIN)/python -m cifar_utils readme

readme: $(READY)
	$(BIN)/python -m cifar_utils readme

lint: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf _build runs .snakemake
