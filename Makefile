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
PART_TIMEOUT = 20m

PY = $(VENV)/bin/python
LONGEST = tests/experiments tests/inference tests/web tests/synthesis
TRAINING = $(wildcard tests/training/test_*.py)
# This checkout first, wherever the environment's own handmesh points.
export PYTHONPATH := $(CURDIR)
export PYTHON TORCH

.PHONY: demo test lint setup setup-dev clean

demo: setup
	$(PY) demo/webcam.py $(ARGS)

test: lint
	# A process for each folder, and for each file that trains, two at a time, the longest first: that fills two cores
	# ("python -m pytest" alone runs them all in one process). A process that does not end is stopped with a signal at
	# which Python prints the stack of each thread. Status 5: PYTEST_ARGS chose no test of that part.
	@printf '%s\n' $(LONGEST) $(TRAINING) $(filter-out $(LONGEST) tests/training,$(patsubst %/,%,$(wildcard tests/*/))) 'tests/test_*.py' | xargs -P 2 -I PART sh -c '\
		d=$$(mktemp -d) && { echo "begun: PART"; PYTHONFAULTHANDLER=1 timeout --signal=ABRT --kill-after=20 $(PART_TIMEOUT) \
		$(PY) -m pytest -q -p no:dash --basetemp=$$d/t $(PYTEST_ARGS) PART > $$d/log 2>&1; s=$$?; \
		echo "PART: status $$s"; cat $$d/log; rm -rf $$d; [ $$s = 0 ] || [ $$s = 5 ]; }'

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
