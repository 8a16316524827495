# Each target does all of its own set-up: a virtual environment in .venv, from any Python >= 3.11 that is there.
VENV := .venv
BIN := $(VENV)/bin
SOURCES := server tests scripts benchmarks

ifdef PYTHON
ifneq ($(shell "$(PYTHON)" -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null),True)
$(error PYTHON=$(PYTHON) cannot be used: it is not Python 3.11 or newer, or it does not run)
endif
endif

.PHONY: help demo test matrix soak check bench reliability format docs clean

# What `make` alone does.
.DEFAULT_GOAL := demo

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: $(VENV)/ready-to-run ## The main job: an agent streams a conversation, a watcher draws it.
	$(BIN)/mandrake-sessions demo $(if $(WORKSPACE),--workspace "$(WORKSPACE)")

# Much of a test is waiting: for a disk, for a process that begins or ends. So there are 1.5 workers a processor.
test: $(VENV)/ready-to-check ## All tests.
	$(BIN)/pytest -n $$(( 3 * $$($(BIN)/python -c 'import os; print(os.cpu_count() or 1)') / 2 )) --dist worksteal $(ARGS)

matrix: $(VENV)/ready-to-check ## Tests on each Python from 3.11 to 3.14 that is found: the quick parts, or ARGS.
	$(BIN)/python scripts/matrix.py $(ARGS)

MINUTES := 30
soak: $(VENV)/ready-to-check ## Servers that are killed, stopped, restored and moved for MINUTES, and an oracle.
	PYTHONPATH=tests $(BIN)/python -m soak --minutes $(MINUTES) $(ARGS)

check: $(VENV)/ready-to-check ## Format, lint, types, import contracts, generated files, tests.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check
	$(MAKE) test

bench: $(VENV)/ready-to-check ## Measure, side by side with others; the figures of docs/performance.md come from here.
	$(BIN)/python -m benchmarks $(ARGS)

COUNTING := faults hostile commands soak $(addprefix e2e/test_,$(addsuffix .py,absent_store event_loop leases lifecycle \
	logs slow_readers standard_streams surroundings))
reliability: $(VENV)/ready-to-check ## Run the tests that count what they try, and write docs/reliability.md.
	rm -rf .reliability && mkdir .reliability
	MANDRAKE_SESSIONS_EXAMPLES=3 MANDRAKE_SESSIONS_FIGURES=$(CURDIR)/.reliability/figures.jsonl $(BIN)/pytest -n auto \
		--junitxml .reliability/report.xml $(addprefix tests/,$(COUNTING))
	$(BIN)/python scripts/reliability.py .reliability/report.xml .reliability/figures.jsonl

format: $(VENV)/ready-to-check ## Format, and mend what the linter can mend.
	-$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(VENV)/ready-to-check ## Generate docs/ from the code.
	$(BIN)/python scripts/generate.py

$(VENV)/ready-to-run: pyproject.toml scripts/bootstrap
	scripts/bootstrap $(VENV)
	@touch $@

$(VENV)/ready-to-check: $(VENV)/ready-to-run tests/generators/package-lock.json scripts/node_tools
	$(BIN)/python -m pip install --quiet --group dev
	scripts/node_tools $(VENV)
	@touch $@

clean: ## Delete everything that the other targets made.
	rm -rf $(VENV) .matrix .reliability dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
