# `make demo` shows that it works, `make test` checks it. Each sets up what it needs; neither needs the other.
# Another interpreter: make PYTHON=python3.12 demo.  Another place for the environment: make VENV=/some/folder test.

PYTHON ?= python3
VENV = .venv
python = $(VENV)/bin/python
install = $(python) -m pip install -qq --disable-pip-version-check --constraint constraints.txt
pytest = $(python) -m pytest

.PHONY: help setup demo test unit test-full check format bench clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(VENV)/.dev ## build the virtual environment, with the tools for development

demo: $(VENV)/.runtime ## run the whole method on the embedded model, and write a report
	$(VENV)/bin/ia2 demo

# The unit tests share the cores as two processes of one thread; the model's tests have both to themselves.
test: check unit ## style, types and all tests but the slow ones
	OMP_NUM_THREADS=2 $(pytest) -m "model and not slow" $$(grep -rl --include='test_*.py' 'mark\.model' tests)

unit: $(VENV)/.dev ## the tests that need no model
	OMP_NUM_THREADS=1 $(pytest) -n 2 --dist worksteal -m "not model and not slow"

test-full: check ## style, types and every test
	OMP_NUM_THREADS=1 $(pytest) -n 2 --dist worksteal -m "not model"
	OMP_NUM_THREADS=2 $(pytest) -m model

check: $(VENV)/.dev ## style and types
	$(python) -m ruff format --check
	$(python) -m ruff check
	$(python) -m mypy

format: $(VENV)/.dev ## put the code into the house style
	$(python) -m ruff format
	$(python) -m ruff check --fix

bench: $(VENV)/.runtime ## print ours beside the plain procedure, one benchmark after the other
	@status=0; for file in $(sort $(wildcard benchmarks/bench_*.py)); do \
	  echo; echo "== $$file"; $(python) "$$file" || status=1; done; exit $$status

clean: ## remove .venv, the caches and what a build leaves; results stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# torch is named first and pinned, so that nothing else chooses its build.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "Installing ia2 into $(VENV), a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(install) torch --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(install) --editable '.[dev]'
	@touch $@
