"""Measure steps against each other in one process, and the memory of one."""

import ctypes
import gc
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llvmlite import binding

Step = Callable[[], None]
Pairs = Sequence[Sequence[float]]


def timed(step: Step) -> float:
    """CPU seconds of this thread for one step."""
    start = time.thread_time()
    step()
    return time.thread_time() - start


def in_rounds(*steps: Step, rounds: int) -> list[list[float]]:
    """Seconds of all, round by round, so that a noisy machine slows all.

    Few rounds are for a slow last step. It leaves cold caches behind, so the others
    then run five times in each round, and their median counts; a single round does
    not warm it up.
    """
    *quick, last = steps
    for step in quick * 5 + [last] * min(rounds - 1, 5):
        step()
    again = 1 if rounds > 5 else 5
    return [
        [
            *(statistics.median(timed(step) for _ in range(again)) for step in quick),
            timed(last),
        ]
        for _ in range(rounds)
    ]


def ratios(pairs: Pairs) -> dict[str, float]:
    """Second over first, taken within each round: median, 10th, 90th percentile."""
    found = sorted(second / first for first, second in pairs)
    return {
        "ratio": statistics.median(found),
        "p10": found[len(found) // 10],
        "p90": found[-1 - len(found) // 10],
    }


def milliseconds(seconds: Sequence[float]) -> float:
    """The median."""
    return 1e3 * statistics.median(seconds)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y against log x, least squares."""
    return statistics.linear_regression(
        [math.log(value) for value in x], [math.log(value) for value in y]
    ).slope


def processor() -> str:
    """Name and widest vectors of what measures here: ratios depend on them."""
    vectors = {"avx512f": "AVX-512", "avx2": "AVX2", "neon": "NEON"}
    features = binding.get_host_cpu_features()
    widest = [name for feature, name in vectors.items() if features.get(feature)]
    return ", ".join([binding.get_host_cpu_name(), *widest[:1]])


def last_line(script: str, *arguments: str) -> str:
    """What a script says last that runs in a process of its own."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def _status(field: str) -> float:
    """A size of this process from Linux's /proc, MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_of_second_step(step: Step) -> float:
    """How far the peak of this process rises in a full-size step, MiB.

    Not in the first one: that also makes the optimiser's state, the same for all. Call
    it in a process that has not run other steps.
    """
    step()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give back what the first step left behind
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    step()
    return _status("VmHWM") - before
