# Everything runs in .venv, made on first use and remade when the requirements change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

.PHONY: setup test test-all fuzz test-sets clang lint types demo demo-short laptop docs gpu-check check clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"splatlearn needs Python 3.11 or newer; {sys.executable} is {v.major}.{v.minor}. Name another: make PYTHON=python3.12" if v < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

# The tests of `make test` and those that are marked `large`: oracles of a large size, and runs that are killed many times.
test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "large or not large"

# Ten thousand mutations of each format of splats and captures.
fuzz: setup
	SPLATLEARN_MUTATIONS=10000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) tests/files/test_malformed.py tests/captures/test_malformed.py

# With each instruction set of this processor forced, on one and two threads: an hour or so. SETS="avx2" takes one of them.
test-sets: setup
	.ci/sets $(BIN)/python -n $(JOBS)

# native/ compiled by Clang, and the tests of what is compiled. They run in an environment of their own: the installation of .venv
# is editable, and its import hook comes before every path. A .pth file lends the packages, whose own .pth files are not read.
CLANG ?= clang++
CLANG_ENV := build/clang
CLANG_PYTHON := OMP_NUM_THREADS=1 $(CLANG_ENV)/bin/python
clang: setup
	$(PYTHON) -m venv --clear --without-pip $(CLANG_ENV)
	packages="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
	  borrowed="$$($(CLANG_ENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
	  echo "$$packages" > "$$borrowed/borrowed.pth" && \
	  CXX=$(CLANG) SPLATLEARN_NATIVE=required $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	    --target "$$borrowed" -C build-dir=build/clang-cmake .
	$(CLANG_PYTHON) -c 'import torch; from splatlearn.rendering import _native as n; print(n.__file__); assert "$(CLANG_ENV)/" in n.__file__'
	$(CLANG_PYTHON) -m pytest -n $(JOBS) -k "not triton" tests/rendering/test_compiled.py tests/rendering/test_compiled_properties.py \
	  tests/rendering/test_blend_cpu.py tests/rendering/test_project_cpu.py tests/rendering/test_instruction_sets.py \
	  tests/models/nn/test_layers.py tests/models/nn/test_fused_block.py tests/fitting/losses tests/fitting/optimizers

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/basedpyright

demo: setup
	$(BIN)/splatlearn demo --out runs/demo --overwrite

demo-short: setup
	$(BIN)/splatlearn demo --out runs/demo-short --short --overwrite

# The laptop preset on CIFAR-10, half an hour for each of three seeds; LAPTOP="--data uoft-cs/cifar10" takes it from the Hub.
laptop: setup
	$(BIN)/python -m benchmarks.laptop preset --out runs/laptop $(LAPTOP)

docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

# Tests and benchmarks of the renderer on a GPU; GPU_PYTHON=python3 takes an environment that is there instead of .venv.
GPU_PYTHON ?= $(BIN)/python
GPU_RUN := PYTHONPATH=src:. $(GPU_PYTHON) -m
gpu-check: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),setup)
	$(GPU_RUN) pytest tests/rendering -q
	$(GPU_RUN) pytest tests/rendering/test_scene_triton.py -q -m large
	$(GPU_RUN) benchmarks.render_cuda --json-file benchmarks/results/render_cuda.json
	$(GPU_RUN) benchmarks.render_scenes_cuda --with-crossover --json-file benchmarks/results/render_scenes_cuda.json
	$(GPU_RUN) benchmarks.train_step --compiled --largest --json-file benchmarks/results/train_step_cuda.json

check: lint types docs test

clean:
	rm -rf build dist .pytest_cache .ruff_cache
