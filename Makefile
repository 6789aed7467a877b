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

.PHONY: help demo test sweep lint benchmarks results sanafe conformance clean
help:
	@echo "make demo         train, test, export and emulate a ReL-PSP network on digits"
	@echo "make test         the whole test suite, linter and type checker"
	@echo "make sweep        the long tests: 1,000 random networks in every emulator,"
	@echo "                  simulator and reader, 100,000 broken bundles"
	@echo "make lint         ruff and mypy alone"
	@echo "make benchmarks   speed and memory against peers, and the README's tables"
	@echo "                  (an hour or more); variables such as SNN_TEMPORAL_MNIST name"
	@echo "                  the folders of data sets"
	@echo "make results      train and measure all networks of the README, and its tables"
	@echo "                  (days; goes on where it was stopped); data sets likewise"
	@echo "make sanafe       the simulator SANA-FE, for export --to sanafe and its tests"
	@echo "make conformance  what readers of NIR make of our files, and the README's table"
	@echo "make clean        remove .venv, .venv-* and runs/"

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

# Peers that nothing else needs; pure Python on the torch that is there.
PEERS := $(VENV)/peers
$(PEERS): benchmarks/peers.txt $(READY)
	$(VENV)/bin/python -m pip install --quiet --no-deps -r $<
	touch $@

# A script that fails, for want of a data set for instance, does not stop the others.
each = status=0; for script in $(1); do echo "== $$script.py"; \
	$(VENV)/bin/python $$script.py || status=1; done; \
	$(VENV)/bin/python results/readme.py && exit $$status

benchmarks results: export NUMBA_NUM_THREADS := 1
benchmarks: $(READY) $(PEERS)
	$(call each,$(addprefix benchmarks/,step epoch cnn sstdp_step spike_trains \
		st_rsbp_step scaling emulators))

# What is trained is kept in runs/results/: stopped, it goes on where it was. A
# simulator or reader that cannot be installed keeps its last numbers; hence the dashes.
results: $(READY)
	-$(MAKE) --no-print-directory sanafe
	-$(MAKE) --no-print-directory conformance
	$(call each,$(addprefix results/,train curves ablation additions quantisation cost \
		released_metric))

sanafe: $(SANAFE)/ready

$(SANAFE)/ready:
	test -x $(SANAFE)/bin/python || $(PYTHON) -m venv $(SANAFE)
	$(SANAFE)/bin/python -m pip install --quiet sanafe==2.2.9
	touch $@

clean:
	rm -rf $(VENV) $(SANAFE) $(APART:%=.venv-%) runs
