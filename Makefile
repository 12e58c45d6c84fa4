# Everything runs in .venv; `make setup` makes it. PYTHON names the interpreter it is made with (3.11 or newer),
# PIP_ARGS what pip should be told besides, such as where to find a CPU-only torch.
PYTHON ?= python3
PIP_ARGS ?=
PROMPT ?= a drum loop at 120 bpm
RUN ?= runs/tiny

BIN := .venv/bin
TEST := $(BIN)/pytest --numprocesses 2 --dist worksteal
CORE := .venv/.core-installed
DEV := .venv/.dev-installed

.PHONY: setup demo test check fix bench peer-tests docs clean train-tiny

setup: $(DEV)  ## everything for development

$(CORE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(DEV): $(CORE)
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(CORE)  ## demo.wav and demo.png from PROMPT
	$(BIN)/auralith generate "$(PROMPT)" --seconds 6 --output demo.wav --png

test: $(DEV)
	$(TEST)

check: $(DEV)  ## all that CI runs; the docs check is tests/test_docs.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(TEST)

fix: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)  ## against diffusers, with the same random weights
	$(BIN)/python benchmarks/generate.py

peer-tests: $(DEV)  ## diffusers' own tests against our pipeline; PEER names a checkout of its repository
	$(BIN)/python scripts/peer_tests.py $(PEER)

docs: $(DEV)  ## rewrite docs/cli.md from --help
	$(BIN)/python scripts/cli_reference.py

train-tiny: $(DEV)  ## train the embedded model from nothing; see recipes/tiny/README.md
	$(BIN)/auralith train recipes/tiny/recipe.toml --output $(RUN)

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist demo.wav demo.png
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
