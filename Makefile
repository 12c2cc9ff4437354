# make run    register a bundled congestion control, send real TCP data through it, prove it, unregister
# make test   lint, types and all tests, those on the running kernel included (PYTEST_ARGS="tests/live/test_net.py -x")
# make fuzz   look for inputs that break the readers, with coverage feedback (FUZZ_ARGS="object --seconds 3600")
# make pythons   the unit tests under the other Pythons that Debian has (PYTHONS="3.13 3.14")
# make vmtest KERNELS="5.10 6.12"   the live tests on other kernels, under QEMU, as one table
# make model-check   the model of the kernel's rules against the running kernel, for some minutes
# make faults   kill commands at every system call, make calls fail, and look at what is left (SCENES="register update")
# make faults-changing   the same, only at the calls that change something
# make update-load   replace a congestion control a hundred times under 200 connections, and print figures (UPDATES=N)
# make docs   build the documentation: pages in build/docs/html, man pages in build/docs/man
# make bench  compare with Debian's bpftool, as ratios in one run
#
# All of it in a virtual environment of its own, .venv. What is missing outside
# Python is installed where that is possible (Debian, as root), or named in one line.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard structops_cli/syscall/*.c structops_cli/syscall/*.h) structops_cli/syscall/build_native.py
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-warn-script-location \
	--config-settings editable_mode=compat

# Bytecode is a third of a command's start-up; an environment that forbids it must not slow the product down.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test lint docs pythons vmtest fuzz model-check faults faults-changing update-load bench objects wheel clean
.DEFAULT_GOAL := run

run: $(VENV)/run-ready
	$(BIN)/structops demo

test: lint
	@.ci/test $(BIN)/python $(PYTEST_ARGS)

lint: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# Warnings are errors. The man pages come from the same sources as the pages.
docs: $(VENV)/docs-ready
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs/html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b man docs build/docs/man

fuzz: $(VENV)/test-ready
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

pythons: $(VENV)/test-ready
	$(BIN)/python -m tests.pythons $(PYTHONS)

vmtest: $(VENV)/test-ready
	$(BIN)/python -m tests.vm $(KERNELS) $(VMTEST_ARGS)

# make model-check OPERATIONS=20000 [SEED=N]: SEED runs again what a run printed
OPERATIONS ?= 20000

model-check: $(VENV)/test-ready
	STRUCTOPS_MODEL_OPERATIONS=$(OPERATIONS) STRUCTOPS_MODEL_SEED=$(SEED) $(BIN)/python -m pytest -q tests/live/test_model.py

faults: $(VENV)/test-ready
	$(BIN)/python -m tests.faults --every $(SCENES)

# at the calls that change something only: minutes, not hours
faults-changing: $(VENV)/test-ready
	$(BIN)/python -m tests.faults --jobs 3 $(SCENES)

UPDATES ?= 100

update-load: $(VENV)/test-ready
	$(BIN)/python -m tests.live.update_load --updates $(UPDATES)

bench: $(VENV)/test-ready
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

# The bundled objects are kept built, so that nobody needs a compiler for BPF to
# use them; a test holds that they rebuild byte for byte.
objects:
	@.ci/need clang-19 llvm-strip-19
	$(MAKE) -C bpf_objects all

wheel: $(VENV)/test-ready
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@.ci/need python-venv
	$(PYTHON) -m venv $(VENV)

# The package is installed in place, its native part built beside its sources.
$(VENV)/run-ready: pyproject.toml setup.py $(NATIVE) | $(VENV)/bin/python
	@.ci/need cc python-headers
	$(PIP_INSTALL) --editable .
	@$(BIN)/python -m compileall -q structops_cli
	@touch $@

$(VENV)/test-ready: $(VENV)/run-ready
	@.ci/need clang-19 llvm-strip-19 libelf libbpf zstd lz4 ip mount setpriv
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/docs-ready: $(VENV)/run-ready
	$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info structops_cli/syscall/_native.c structops_cli/syscall/*.so structops_cli/syscall/*.o
