# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash

.PHONY: demo test check slow dashboard clean

demo: .venv/installed
	$(BIN)/ablate run demo
	$(BIN)/ablate effects quickstart
	$(BIN)/ablate law fit lr_law_tiny
	$(BIN)/ablate report quickstart lr_law_tiny -o report.html
	@echo
	@echo "Open report.html in a browser, or look at the live pages: make dashboard, then http://127.0.0.1:8050/"

dashboard: .venv/installed
	$(BIN)/ablate dashboard

test: check
	$(BIN)/python -m pytest -n 2 -m "not slow and not browser"

check: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow or browser"

# The CPU build of torch where the index has one; a GPU machine installs the torch it wants beforehand.
# What is tested holds all that is installed, so that a clone that is only tested installs once.
.venv/installed: WANTED := .
.venv/tested: WANTED := .[test]
.venv/installed .venv/tested: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '$(WANTED)'
	touch .venv/installed $@

clean:
	rm -rf .venv .ablate report.html
