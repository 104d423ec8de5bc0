# make demo   distil a trained teacher on drawn street scenes
# make test   the test suite (make test-quick leaves out the slow ones)
# make test-oldest   the quick tests with the oldest libraries that are supported
# make check  style, types, layers, doctests
# make docs   the documentation as a site, in build/site/
# make bench  the tables of docs/benchmarks/speed.md; with CAMVID=folder TEACHER=run those of the teacher cache too

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some tests wait: one process more than there are cores. Each takes about a gigabyte.
PARALLEL := -n $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() + 1))') --dist worksteal

.PHONY: demo test test-quick test-oldest check docs bench format clean

# The stamp is younger than pyproject.toml once everything is installed.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/fakd demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL)

test-quick: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# OLDEST=tests/functional, for example, takes these tests alone
test-oldest: $(VENV)/.installed
	$(BIN)/python tests/reliability/oldest.py .venv-oldest -m "not slow" $(PARALLEL) $(OLDEST)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules src/fakd

docs: $(VENV)/.installed
	$(BIN)/python docs/make_site.py build
	@echo "Open build/site/index.html; to search in it, $(BIN)/python -m http.server -d build/site"

bench: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/step.py --threads 1 --rounds 9 --workers 0 --clock cpu
ifdef CAMVID
	$(BIN)/python benchmarks/teacher_cache.py --dataset camvid --data-root $(CAMVID) --teacher $(TEACHER) \
		--base-size 180 240 --crop-size 96 96 --batch 4 --images 8 --rounds 5 --threads 2
endif

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-oldest demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
