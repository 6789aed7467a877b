"""Which hardware tools are installed; a test that misses one skips."""

import shutil
from dataclasses import replace

import pytest

from snn_temporal_plugins.export import map_network, smallest_chip
from tests.export.random_networks import random_trial

PROGRAMS = {"icarus": "iverilog", "verilator": "verilator", "yosys": "yosys"}


def need(name):
    if shutil.which(PROGRAMS[name]) is None:
        pytest.skip(f"{name} is not installed; apt-get install {PROGRAMS[name]}")


def one_chip(networks, num_pes):
    """The smallest chip that holds each of the networks."""
    chips = [smallest_chip(network, num_pes) for network in networks]
    numbers = [name for name in chips[0].__dict__ if name != "name"]
    return replace(
        chips[0], **{name: max(getattr(c, name) for c in chips) for name in numbers}
    )


def trial_jobs(seeds, num_pes, **options):
    """Random networks on one chip that is large enough for all, with their ticks."""
    trials = [random_trial(seed, **options) for seed in seeds]
    chip = one_chip([trial.network for trial in trials], num_pes)
    return [(map_network(trial.network, chip), trial.ticks) for trial in trials]
