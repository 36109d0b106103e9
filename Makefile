# The commands of README; CI runs the same.
# A suitable Python is found by itself; PYTHON=... names another.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.10,$(shell python$(v) -c 'print("python$(v)")' 2>/dev/null)) $(shell python3 -c \
	'import sys; (3, 10) <= sys.version_info[:2] <= (3, 12) and print("python3")' 2>/dev/null))
BIN := .venv/bin
# What is run here must see the environment's own programs, as after `source .venv/bin/activate`; and each package is
# compiled to byte code once, also where the shell forbids to keep that: importing MindSpore takes twice as long without.
RUN := PYTHONDONTWRITEBYTECODE= PATH="$(CURDIR)/$(BIN):$$PATH"
# One process a core; PARALLEL="-p no:xdist" runs the tests in one.
PARALLEL ?= -n auto --maxprocesses 8 --dist loadgroup
PYTEST := python -m pytest --durations=12

# The inner loop: network, losses, data, scores, operation by operation. What trains or reads whole files is left out.
QUICK := $(addprefix tests/,architecture console dataset metrics network training) \
	$(addprefix --ignore=tests/,network/test_checkpoint.py training/test_state.py training/test_train.py)

.PHONY: environment repro test test-fast test-slow lint docs bench restore

environment: .venv/complete

repro: .venv/complete
	$(RUN) dvc repro
	$(RUN) adl report
	@echo
	@echo "Done. Open reports/index.html in a browser: scores and pictures. Before any dvc command, once per shell:"
	@echo "  source .venv/bin/activate"

test: .venv/complete
	$(RUN) $(PYTEST) $(PARALLEL) -m "not slow"

test-fast: .venv/complete
	$(RUN) $(PYTEST) $(PARALLEL) -m "not slow" $(QUICK)

test-slow: .venv/complete
	$(RUN) $(PYTEST) $(PARALLEL) -m slow

lint: .venv/complete
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

# NO_MKDOCS_2_WARNING silences an announcement that mkdocs-material prints on every build.
docs: .venv/complete
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict

bench: .venv/complete
	$(RUN) python benchmarks/check_data.py
	$(RUN) python benchmarks/loss.py
	$(RUN) python benchmarks/training_cost.py
	$(RUN) python benchmarks/compilation.py
	$(RUN) python benchmarks/deployment.py

RESULTS := params.yaml dvc.lock pipeline/synthetic/dvc.lock metrics reports
restore: .venv/complete
	@echo "Discarding these changes, and bringing back the data and models of the last commit's parameters:"
	@git status --short -- $(RESULTS)
# Removed first, because git takes a file for unchanged that was rewritten in the same second to the same size.
	@git ls-files -z -- $(RESULTS) | xargs -0 rm -f
	git restore --source=HEAD --staged --worktree -- $(RESULTS)
	$(RUN) adl restore

.venv/complete: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No suitable Python was found: MindSpore needs 3.10, 3.11 or 3.12. Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Making the environment in .venv with $(PYTHON): one to three minutes, 3.3 GB"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
# What draws the page of `dvc plots show`, so that it needs no network.
	@$(BIN)/python -c 'import sys, vl_convert; sys.stdout.write(vl_convert.javascript_bundle())' > .venv/vega.js
	@touch $@
