# Everything from a bare machine with python3, make and the package registries.
#
#   make demo                 set up, then the webcam demo (a clip it renders itself where there is no camera)
#   make demo ARGS="--source clip.mp4 --headless --output out.mp4"
#   make test                 set up with the developers' tools, then ruff, mypy and the tests
#   make setup                set up only          make lint     ruff and mypy only
#   make clean                remove .venv
#
#   VENV=DIR      another folder for the virtual environment (kept between runs, also shared between clones)
#   PYTHON=python3.12         the interpreter that makes it
#   TORCH='torch==2.13.0'     a build of PyTorch to install first
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=

PY = $(VENV)/bin/python
ALONE = tests/training/ tests/inference/ tests/labeling/ tests/evaluation/ tests/experiments/ tests/benchmarks/
# This checkout first, wherever the environment's own handmesh points.
export PYTHONPATH := $(CURDIR)
export PYTHON TORCH

.PHONY: demo test lint setup setup-dev clean

demo: setup
	$(PY) demo/webcam.py $(ARGS)

test: lint
	# A process for each folder, and for each file of those that train or build engines: all of them in one process have
	# ended in a crash of native code. Status 5: PYTEST_ARGS chose no test of that part.
	set -e; for part in tests/test_*.py $(filter-out $(ALONE),$(wildcard tests/*/)) $(wildcard $(addsuffix test_*.py,$(ALONE))); do \
		$(PY) -m pytest -q $(PYTEST_ARGS) $$part || [ $$? = 5 ]; done

lint: setup-dev
	$(PY) -m ruff check .
	$(PY) -m mypy

setup:
	@scripts/setup.sh "$(VENV)" demo,stream,view,smplx
	@$(PY) -m handmesh fetch --quiet

setup-dev:
	@scripts/setup.sh "$(VENV)" demo,stream,view,smplx,dev,rerun,cluster
	@$(PY) -m handmesh fetch --quiet

clean:
	rm -rf .venv
