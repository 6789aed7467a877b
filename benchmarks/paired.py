"""Measure two steps against each other in one process, and the memory of one."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

Step = Callable[[], None]
Pairs = list[tuple[float, float]]


def timed(step: Step) -> float:
    """CPU seconds of this thread for one step."""
    start = time.thread_time()
    step()
    return time.thread_time() - start


def in_rounds(first: Step, second: Step, rounds: int) -> Pairs:
    """Seconds of both, round by round, so that a noisy machine slows both."""
    for _ in range(5 if rounds > 5 else 1):
        first()
        second()
    return [(timed(first), timed(second)) for _ in range(rounds)]


def ratios(pairs: Pairs) -> dict[str, float]:
    """Second over first, taken within each round: median, 10th, 90th percentile."""
    found = sorted(second / first for first, second in pairs)
    return {
        "ratio": statistics.median(found),
        "p10": found[len(found) // 10],
        "p90": found[-1 - len(found) // 10],
    }


def milliseconds(seconds: list[float]) -> float:
    """The median."""
    return 1e3 * statistics.median(seconds)


def _status(field: str) -> float:
    """A size of this process from Linux's /proc, MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_of_second_step(step: Step) -> float:
    """How far the peak of this process rises in a full-size step, MiB.

    Not in the first one: that also makes the optimiser's state, the same for all. Call
    it in a process of its own.
    """
    step()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give back what the first step left behind
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    step()
    return _status("VmHWM") - before
