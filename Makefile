# make book: the chapters re-executed, the site built.   make test: the whole suite.   make lint: types, style, layers.
# Each makes .venv when it's missing.
PRESET ?= quick
PYTHON ?= python3
BIN = .venv/bin

.PHONY: help book test lint format pairs clean
.DEFAULT_GOAL := help

help:
	@echo "make book                  re-execute what is stale with the preset quick and build the site"
	@echo "make book PRESET=smoke     the same at another scale: smoke, quick, standard, paper"
	@echo "make book PRESET=published standard from the published results in results/, quick where there are none"
	@echo "          SEED=1 DEVICE=cuda   other chapter parameters"
	@echo "make test                  the whole test suite (ARGS='-k gap' for some of it)"
	@echo "make lint                  style (ruff), types (mypy), which package may import which (import-linter)"
	@echo "make format                let ruff mend what it can"
	@echo "make pairs                 make chapters/*.ipynb from chapters/*.py"
	@echo "make clean                 remove what was built; trained runs (runs/) and .venv stay"

book: .venv/book
	$(BIN)/python tools/build_book.py --preset $(PRESET) $(if $(SEED),-p seed $(SEED)) $(if $(DEVICE),-p device $(DEVICE))

test: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)  # two processes, a thread each

lint: .venv/test
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --no-error-summary
	@contracts=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$contracts"; exit 1; }
	$(BIN)/python tools/pairs.py --check

format: .venv/test
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

pairs: .venv/book
	$(BIN)/python tools/pairs.py

clean:
	rm -rf _build _extra

# One environment; what it lacks is added when pyproject.toml or constraints.txt change. Nothing is compiled ahead: of
# the many modules few are imported, and Python compiles those when they are.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/book: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --no-compile -c constraints.txt -e '.[book]'
	@touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --no-compile -c constraints.txt -e '.[book,test,dev]'
	$(BIN)/python -m pip install --no-compile --no-deps -c constraints.txt azula  # which would bring torchvision along
	@touch $@ .venv/book
