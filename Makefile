# make demo: set up, train, export and emulate a network; make test: the whole suite.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
# One thread per pool: on a few shared cores two pools wait for each other, and the
# kernels of small networks gain nothing from more (README, "Threads").
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test sweep lint bench clean
help:
	@echo "make demo    train, test, export and emulate a ReL-PSP network on digits"
	@echo "make test    the whole test suite, linter and type checker"
	@echo "make sweep   the long tests: 1,000 random networks in every emulator, simulator"
	@echo "             and reader, 100,000 broken bundles"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   measure speed against peers and rewrite the README's table;"
	@echo "             ROOT=FOLDER names the folder of MNIST"
	@echo "make clean   remove .venv and runs/"

# Norse goes in without its dependencies: it asks for torchvision, whose wheel does not
# fit a CPU-only torch and then breaks `import lightning`. So does SpikingJelly, which the
# tests and benchmarks compare with.
$(READY): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[test]"
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt --no-deps \
		norse spikingjelly loguru
	touch $(READY)

demo: $(READY)
	$(VENV)/bin/python examples/demo.py

test: $(READY) lint
	$(VENV)/bin/python -m pytest

sweep: $(READY)
	$(VENV)/bin/python -m pytest -m sweep

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: export NUMBA_NUM_THREADS := 1
bench: $(READY)
	$(VENV)/bin/python benchmarks/step.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/epoch.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/sstdp_step.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/spike_trains.py
	$(VENV)/bin/python results/readme.py

clean:
	rm -rf $(VENV) runs
