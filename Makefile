# The ways in: demo and test each work as the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo lab unit test soak check bench format clean

demo:  ## set everything up and let a real model answer
	@$(PYTHON) scripts/setup.py demo
	@$(VENV)/python -m scripts.demo

lab:  ## JupyterLab in notebooks/
	@$(PYTHON) scripts/setup.py lab
	@$(VENV)/jupyter lab --notebook-dir=notebooks

unit:  ## the rooms that compute, in seconds, without llama.cpp and Jupyter
	@$(PYTHON) scripts/setup.py unit
	@$(VENV)/python -m scripts.run_tests unit

test:  ## every test but the soak ones
	@$(PYTHON) scripts/setup.py test
	@$(VENV)/python -m scripts.run_tests test

soak:  ## what takes longer than a test run may
	@$(PYTHON) scripts/setup.py test
	@$(VENV)/python -m scripts.run_tests soak

check:  ## format, lint, types, import contracts
	@$(PYTHON) scripts/setup.py test
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports

bench:  ## speed beside a bare llama.cpp loop, as ratios
	@$(PYTHON) scripts/setup.py test
	@$(VENV)/python -m benchmarks

format:
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
