"""Thousands of broken bundles, in a process of their own (see mutations.py)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def sweep(first, last, *plain):
    """Read the broken bundles of some seeds; what became of them."""
    module = "tests.export.bundle.mutations"
    command = [sys.executable, "-m", module, str(first), str(last), *plain]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["failures"] == [], done.stdout
    assert sum(report["outcomes"].values()) == last - first
    assert report["peak_bytes"] < 1 << 30
    return report["outcomes"]


def test_a_few_hundred():
    outcomes = sweep(0, 400)
    assert len(outcomes) > 15
    assert outcomes["harmless"] < 80


def test_some_in_the_plain_reader():
    outcomes = sweep(0, 80, "plain")
    assert outcomes["harmless"] < 20


@pytest.mark.sweep
@pytest.mark.parametrize("part", range(10))
def test_a_hundred_thousand(part):
    sweep(10_000 * part, 10_000 * (part + 1))


@pytest.mark.sweep
def test_thousands_in_the_plain_reader():
    sweep(0, 5000, "plain")
