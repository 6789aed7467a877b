# make demo: set up, train, export and emulate a network; make test: the whole suite.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
# One thread per pool: on a few shared cores two pools wait for each other, and the
# kernels of small networks gain nothing from more (README, "Threads").
export OMP_NUM_THREADS ?= 1

# SANA-FE is a GPL-3 program: it runs in an environment of its own (export/sanafe.py).
SANAFE := .venv-sanafe
export SANAFE_PYTHON ?= $(CURDIR)/$(SANAFE)/bin/python

.PHONY: help demo test sweep lint bench sanafe conformance clean
help:
	@echo "make demo    train, test, export and emulate a ReL-PSP network on digits"
	@echo "make test    the whole test suite, linter and type checker"
	@echo "make sweep   the long tests: 1,000 random networks in every emulator, simulator"
	@echo "             and reader, 100,000 broken bundles"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   measure speed against peers and rewrite the README's table;"
	@echo "             ROOT=FOLDER names the folder of MNIST"
	@echo "make sanafe  the simulator SANA-FE, for export --to sanafe and its tests"
	@echo "make conformance  what readers of NIR make of our files, and the README's table"
	@echo "make clean   remove .venv, .venv-* and runs/"

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

# Tests whose simulator is missing skip and say so; hence the dash.
test: $(READY) lint
	-$(MAKE) --no-print-directory sanafe
	$(VENV)/bin/python -m pytest

sweep: $(READY)
	-$(MAKE) --no-print-directory sanafe
	$(VENV)/bin/python -m pytest -m sweep

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Readers of NIR that do not fit beside the others have environments of their own.
APART := spyx rockpool snn_mlir
conformance: $(READY) $(APART:%=.venv-%/ready)
	$(VENV)/bin/python results/nir_conformance.py \
		$(foreach reader,$(APART),--reader $(reader)=.venv-$(reader)/bin/python)
	$(VENV)/bin/python results/readme.py

$(APART:%=.venv-%/ready): .venv-%/ready: results/nir_readers/%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet -r $<
	touch $@

bench: export NUMBA_NUM_THREADS := 1
bench: $(READY)
	$(VENV)/bin/python benchmarks/step.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/epoch.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/sstdp_step.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python benchmarks/spike_trains.py
	$(VENV)/bin/python benchmarks/emulators.py $(if $(ROOT),--root $(ROOT))
	$(VENV)/bin/python results/readme.py

sanafe: $(SANAFE)/ready

$(SANAFE)/ready:
	test -x $(SANAFE)/bin/python || $(PYTHON) -m venv $(SANAFE)
	$(SANAFE)/bin/python -m pip install --quiet sanafe==2.2.9
	touch $@

clean:
	rm -rf $(VENV) $(SANAFE) $(APART:%=.venv-%) runs
