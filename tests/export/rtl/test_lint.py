"""The sources are clean under the strictest warnings of both compilers."""

import subprocess

from snn_temporal_plugins.export.bundle.simulators import RTL
from tests.export.rtl.programs import need

SOURCES = [str(RTL / f"ttfs_{name}.sv") for name in ("tb", "core", "pe")]


def said(*command):
    done = subprocess.run(
        [*command, *SOURCES], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr, done.returncode


def test_verilator():
    need("verilator")
    for values in ([], ["-GPES=5", "-GNEURONS=1", "-GEVENT_WORDS=1", "-GLAYERS=1"]):
        lint = ["--lint-only", "--timing", "-Wall", "--top-module", "ttfs_tb"]
        assert said("verilator", *lint, *values) == ("", 0)


def test_icarus(tmp_path):
    need("icarus")
    command = ["iverilog", "-g2012", "-Wall", "-s", "ttfs_tb", "-o"]
    assert said(*command, str(tmp_path / "core")) == ("", 0)
