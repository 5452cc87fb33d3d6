# What a person and CI run. Needs Python >= 3.11, make and a network, and nothing else: a C compiler, linters
# and all other tools come from PyPI into .venv, at the versions that constraints.txt pins.

PYTHON ?= python3
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
# Python compiles what it imports when it first does: --no-compile saves the time for all the rest.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt
PYTEST := $(BIN)/pytest -n $(JOBS)
C_FILES := $(sort $(shell find kernels_c -name '*.[ch]'))
M7_FILES := $(sort $(wildcard kernels_c/src/cortex_m7/*.c))
M7_TARGET := --target=thumbv7em-none-eabihf -mcpu=cortex-m7
FIRMWARE := $(sort $(wildcard renode/firmware/*.[ch] renode/calls/*.c examples/*/*.c))
WORKFLOWS := $(sort $(wildcard .github/workflows/*.yml examples/*/.github/workflows/*.yml))
OBSERVERS := $(sort $(wildcard refimpl/goldgrad/board/emulators/*.[ch]))

# What the installed package is made of: the rest of refimpl/ is used where it lies. Folders tell of deleted files.
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard kernels_c/python/*.py) $(shell find kernels_c/include kernels_c/src)

# Building in .venv rather than in isolation makes a rebuild quick, and needs no network. ziglang compiles for
# Cortex-M7, and for this machine where it has no compiler.
BUILD := setuptools cffi ziglang

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test oracle deep emulators lint format mutants sanitize bench baseline itcm venv constraints clean

help: ## print the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 14

demo: $(DONE)/test ## train an int8 network on real scans of digits on the emulated board, beside the interpreter
	$(BIN)/goldgrad run digits --board stm32f746

test: $(DONE)/test ## check the ties between rules, code and tests, then run the tests
	$(BIN)/goldgrad spec --check
	$(PYTEST) --ignore=tests/oracle

oracle: $(DONE)/oracle ## compare every gradient with PyTorch's in float64
	$(PYTEST) tests/oracle

deep: $(DONE)/test ## the tests with many more examples, and those that take minutes (hours)
	GOLDGRAD_DEEP=1 HYPOTHESIS_PROFILE=deep $(PYTEST) --ignore=tests/oracle

emulators: $(DONE)/test ## every model and scheme on every emulator that is here: the same to the last instruction and bit
	GOLDGRAD_EMULATORS=1 $(PYTEST) -rP tests/board/test_agreement.py

lint: $(DONE)/lint ## style, types and common faults of Python and C, and a strict build by every compiler
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	@$(BIN)/clang-format --dry-run -Werror $(C_FILES) $(FIRMWARE) $(OBSERVERS)
	@$(BIN)/clang-tidy --quiet $(filter-out $(M7_FILES),$(filter %.c,$(C_FILES))) -- -std=c11 -ffreestanding -Ikernels_c/include
	@$(BIN)/clang-tidy --quiet $(M7_FILES) -- -std=c11 -ffreestanding $(M7_TARGET) -Ikernels_c/include
	@$(BIN)/clang-tidy --quiet $(filter %.c,$(FIRMWARE)) -- -std=c11 -ffreestanding --target=thumbv7em-none-eabihf -Ikernels_c/include
	@$(BIN)/clang-tidy --quiet $(filter %.c,$(OBSERVERS)) -- -std=c11
	$(BIN)/python kernels_c/python/check_c.py

format: $(DONE)/lint ## rewrite Python and C in the project's layout
	$(BIN)/ruff check --fix --select I
	$(BIN)/ruff format
	@$(BIN)/clang-format -i $(C_FILES) $(FIRMWARE) $(OBSERVERS)

mutants: $(DONE)/test ## mutants of the kernels, of those for a Cortex-M7, and of the reference: how many the suite kills
	$(BIN)/python tests/mutants/gate.py --jobs $(JOBS)

sanitize: $(DONE)/test ## run the tests of the C kernels under the address and undefined-behaviour sanitizers
	$(BIN)/python kernels_c/python/sanitize.py -n $(JOBS)

bench: $(DONE)/test ## time the kernels, planning by size of the graph, an interpreted training step, and the timing model
	$(BIN)/python tests/bench.py

baseline: $(DONE)/test ## measure anew what programs and kernels cost (baselines/), to be compared with
	$(BIN)/goldgrad board baseline baselines/stm32f746.json
	$(BIN)/goldgrad bench baseline baselines/kernels.json

itcm: $(DONE)/test ## measure what fetching each kernel's code costs, which decides what runs from ITCM (ten minutes)
	$(BIN)/goldgrad board itcm refimpl/goldgrad/board/itcm.toml

venv: $(DONE)/test $(DONE)/lint ## set up .venv for development

constraints: ## pin the newest versions that pyproject.toml allows: make constraints PYTHON=python3.11
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "the pins are made by Python 3.11")'
	rm -rf build/pins && $(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install --quiet --upgrade $(BUILD) '.[test,lint,oracle]'
	@echo '# Exact versions of everything, for Python 3.11 and newer; made by `make constraints`.' > build/constraints.txt
	build/pins/bin/python -m pip freeze --all --exclude pip --exclude goldgrad | sed 's/+cpu$$//' >> build/constraints.txt
	mv build/constraints.txt constraints.txt && rm -rf build/pins

clean: ## remove everything that is made
	rm -rf $(VENV) build dist out refimpl/*.egg-info refimpl/goldgrad/_kernels*
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DONE)/%: $(DONE)/venv $(SOURCES)
	@echo "Installing goldgrad[$*] into $(VENV) ..."
	@$(PIP) $(BUILD)
	@$(PIP) --no-build-isolation --editable '.[$*]'
	@touch $@

$(DONE)/venv:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): $(REMEDY)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$($(PYTHON) --version) is too old: $(REMEDY)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) lacks ensurepip: install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(DONE) && touch $@

REMEDY := install Python 3.11 or newer, or name one: make PYTHON=python3.11
