# `make help` lists the targets. Each one sets up what it needs in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
export PYTHONWARNINGS := ignore

.PHONY: help demo test check chaos fuzz gpu format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@echo "setting up .venv (half a minute where packages are cached)"
	@scripts/setup.sh

demo: .venv/.ready ## compress the small teachers, serve them, write MP4s and a table to demo/
	@$(BIN)/python scripts/demo.py

test: .venv/.ready ## run all tests with coverage
	@unset PYTHONWARNINGS; $(BIN)/coverage erase; OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 --no-loadscope-reorder && $(BIN)/coverage combine -q && $(BIN)/coverage report --skip-covered

chaos: .venv/.ready ## 1,000 jobs while workers, API and Redis are killed at random; every job is audited (20 min)
	@$(BIN)/python scripts/load/chaos.py --jobs 1000 --kills 30 --output runs/chaos.json

fuzz: .venv/.ready ## 10,000 generated and hostile requests to a running service (15 min)
	@$(BIN)/python scripts/load/fuzz.py --requests 10000 --output runs/fuzz.json

gpu: .venv/.ready ## on a machine with a GPU: tests/gpu, and every full-size measurement into runs/gpu
	@$(BIN)/python benchmarks/on_gpu.py --output runs/gpu

check: .venv/.ready ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the targets made
	rm -rf .venv .checkov demo runs .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
