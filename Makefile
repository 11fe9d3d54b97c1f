# thor-geo: `make predict` shows what it does, `make test` shows that it works.
# Each is complete by itself on a machine with Python >= 3.11 and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# pyenv has a python3.13 on PATH even where that version is switched off: then take it from its folder.
PYENV_ROOT ?= $(HOME)/.pyenv
FOUND := $(shell for python in "$(PYTHON)" "$(PYENV_ROOT)"/versions/$(PYTHON:python%=%).*/bin/python; do \
	"$$python" -c '' 2>/dev/null && echo "$$python" && break; done)
override PYTHON := $(or $(FOUND),$(PYTHON))

# One set of versions for Python 3.11, and one for newer Pythons, for which there are newer packages.
SAY_VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
VERSION := $(shell $(PYTHON) $(SAY_VERSION) 2>/dev/null)
LOCK := constraints/python$(if $(filter 3.11,$(VERSION)),3.11,3.13).txt

# Processes that run tests. Two end together on two cores, and take 3 GB of memory each.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# pip names 200 packages; this shows those that take time.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c $(LOCK)
SHOW := awk '/^ *Downloading .*[0-9] [MG]B/ { sub(/^ */, "  "); print; fflush() } \
	/^Installing collected/ { print "  Installing " NF - 3 " packages"; fflush() }'

# What newer versions of other packages may break: what reads and writes through them, and a run.
VERSIONED := tests/unit/datasets tests/unit/datamodules tests/unit/sources/stac tests/unit/runs \
	tests/unit/tasks tests/unit/test_terratorch.py tests/integration/test_terratorch.py \
	tests/integration/test_terratorch_embeddings.py tests/integration/test_terratorch_fit.py \
	tests/integration/test_stac.py

.PHONY: help predict test test-all test-versions install-test update lint site notebook gallery \
	chaos bench cluster clean python

help:
	@echo "make predict   install, then embed a generated area (configs/quickstart.yaml)"
	@echo "make test      install, then run linters, types and tests: ten minutes on two cores"
	@echo "make test-all  the same with the tests that take a minute or more each"
	@echo "make test-versions  the tests of what depends on the versions of other packages; with"
	@echo "               PYTHON=python3.13 VENV=.venv-3.13 beside the environment that is there"
	@echo "make update    resolve the newest versions: constraints/*.txt, and what moved"
	@echo "make site      install, then build the documentation: site/index.html"
	@echo "make notebook  install, then execute docs/notebooks/quickstart.ipynb anew, in place"
	@echo "make gallery   install, then draw the pictures of docs/gallery.md anew"
	@echo "make chaos     install, then break runs on purpose for hours: benchmarks/results/chaos_*.json"
	@echo "make cluster   install, then run the cluster scripts under a SLURM of this machine (root, slurm-wlm)"
	@echo "make bench     install, then measure how fast it is: benchmarks/results"
	@echo "make clean     remove the environment and what runs leave behind"

# Asked for every time: an environment of another Python would be used without a word.
python:
	@test -n "$(VERSION)" || { echo "$(PYTHON) is not a Python that runs here: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "thor-geo needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@test ! -e $(VENV) || { \
		made="$$($(BIN)/python $(SAY_VERSION) 2>/dev/null)"; \
		test "$$made" = "$(VERSION)" || { \
			echo "$(VENV) is of Python $${made:-(none that runs)}, $(PYTHON) is $(VERSION): make clean removes $(VENV)," \
				"PYTHON=python$${made:-3.11} uses it, and VENV=.venv-$(VERSION) makes another beside it"; exit 1; }; }

$(VENV)/.created: | python
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The stamps make the second run install nothing.
$(VENV)/.installed: $(VENV)/.created pyproject.toml $(LOCK)
	@echo "Installing thor-geo into $(VENV): 3 GB to download the first time, most of it PyTorch"
	@$(PIP) -e . | $(SHOW)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests and the documentation need"
	@$(PIP) -e '.[test,docs]' | $(SHOW)
	@touch $@

# Without one, the tests in a browser are skipped, and say how to get it.
$(VENV)/.browser: $(VENV)/.installed-test benchmarks/support/browser.py
	-$(BIN)/python -m benchmarks.support.browser && touch $@

predict: $(VENV)/.installed
	$(BIN)/thor-geo predict -c configs/quickstart.yaml

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint $(VENV)/.browser
	$(PYTEST) --durations=20

test-all: lint $(VENV)/.browser
	$(PYTEST) --durations=20 -m 'not online'

install-test: $(VENV)/.installed-test

test-versions: $(VENV)/.installed-test
	$(PYTEST) -m 'not online' $(VERSIONED)
	rm -rf $(VENV)/quickstart
	$(BIN)/thor-geo predict -c configs/quickstart.yaml --output.dir=$(VENV)/quickstart
	$(BIN)/thor-geo validate $(VENV)/quickstart

update:
	$(PYTHON) constraints/update.py

# Not --quiet: --strict counts only what is logged. The variable leaves out a note about what will
# follow Material for MkDocs (pyproject.toml has it).
site: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html opens from disk; for its search: $(BIN)/python -m http.server -d site"

notebook: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.notebook

gallery: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.gallery

# Each is run whatever the others say; the disk campaign needs the right to mount (root).
chaos: $(VENV)/.installed-test
	failed=0; for campaign in kill determinism disk memory faults fuzz store; do \
		$(BIN)/python -m benchmarks.chaos.$$campaign || failed=1; \
	done; \
	exit $$failed

# All of them, whatever the others say; the list is in the module.
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.performance

# Needs root, and Debian's slurm-wlm, munge and iproute2; half an hour.
cluster: $(VENV)/.installed-test
	$(BIN)/python -m tests.cluster

clean:
	rm -rf $(VENV) out site .mypy_cache .ruff_cache .pytest_cache
