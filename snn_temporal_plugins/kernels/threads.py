"""Threads of the compiled loops: `torch.set_num_threads` is the one knob."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_MIN_WORK_PER_THREAD = 1 << 20  # operations below which a second thread costs more

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # threads do not survive a fork


def split(body: Callable[[int, int], T], length: int, work: int) -> list[T]:
    """Run body(start, stop) over 0..length, in as many threads as torch uses.

    Args:
        body: Loop over a part of the range, which must release the GIL.
        length: Number of independent items.
        work: Operations of the whole range; too few for two threads stay in one.

    Returns:
        The results of the parts, in order.
    """
    global _pool
    threads = min(torch.get_num_threads(), length, work // _MIN_WORK_PER_THREAD)
    if threads <= 1:
        return [body(0, length)]
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, "snn_temporal_plugins")
    edges = [length * part // threads for part in range(threads + 1)]
    first, *others = itertools.pairwise(edges)
    jobs = [_pool.submit(body, *part) for part in others]
    return [body(*first), *(job.result() for job in jobs)]
