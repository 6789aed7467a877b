"""The input spikes of a sample in time order, for the compiled loops."""

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _insert(time, index, n, gap, budget):
    """Insertion sort of every gap-th element; False once it has moved too many."""
    moves = 0
    for k in range(gap, n):
        t, i, p = time[k], index[k], k
        while p >= gap and time[p - gap] > t:
            time[p], index[p] = time[p - gap], index[p - gap]
            p -= gap
            moves += 1
        time[p], index[p] = t, i
        if moves > budget:
            return False
    return True


@_jit
def sort_events(spike_time, index, time, head, finite, place):
    """Write the spikes of one sample in time order; return their number, -1 if bad.

    Bins of equal width, then insertion: O(n) for the times that occur in practice. When
    the bins turn out to be uneven, Shell's sort takes over.
    """
    bad = False
    for i in range(spike_time.shape[0]):
        bad |= not spike_time[i] > -np.inf
    if bad:
        return -1
    spikes = np.uint64(0)  # an index without a sign needs no care of negative ones
    for i in range(spike_time.shape[0]):  # no branch: silence has no pattern to predict
        finite[spikes] = i
        spikes += np.uint64(spike_time[i] < np.inf)
    n = np.int64(spikes)
    first, last = np.inf, -np.inf
    for k in range(n):
        t = spike_time[finite[k]]
        first, last = min(first, t), max(last, t)
    scale = (2 * n - 1) / (last - first) if last > first else 0.0
    if not scale < np.inf:
        scale = 0.0
    head[: 2 * n + 1] = 0
    for k in range(n):
        place[k] = int((spike_time[finite[k]] - first) * scale)
        head[place[k] + 1] += 1
    for k in range(2 * n):
        head[k + 1] += head[k]
    for k in range(n):
        p = head[place[k]]
        head[place[k]] = p + 1
        index[p], time[p] = finite[k], spike_time[finite[k]]
    if not _insert(time, index, n, 1, 16 * n):
        gap = n
        while gap > 1:
            gap = max(1, gap * 5 // 11)
            _insert(time, index, n, gap, n * n)
    return n
