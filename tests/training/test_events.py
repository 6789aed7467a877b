"""Events of an event camera: the file format, cleaning and binning."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.training import events as module
from snn_temporal_plugins.training.events import (
    Events,
    bin_events,
    denoise,
    read_events,
    stabilise,
)

EVENT = st.tuples(
    st.integers(0, 33), st.integers(0, 33), st.integers(0, 1), st.integers(0, 2**23 - 1)
)
# small enough that some events are neighbours, some simultaneous, some lone
CLOSE = st.tuples(
    st.integers(28, 33), st.integers(0, 5), st.integers(0, 1), st.integers(0, 40)
)


def content(rows):
    """Bytes of events (x, y, polarity, time)."""
    return b"".join(
        bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in rows
    )


def events(rows):
    return Events(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)


def rows_of(recording):
    return [tuple(row) for row in np.stack(recording, axis=1).tolist()]


def test_a_file_written_by_hand(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(bytes.fromhex("0a 21 80 00 01  00 05 01 02 03  21 00 ff ff ff"))
    assert rows_of(read_events(path)) == [
        (10, 33, 1, 1),
        (0, 5, 0, 0x010203),
        (33, 0, 1, 2**23 - 1),
    ]


@given(st.lists(EVENT, min_size=1, max_size=50))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("events") / "1.bs2"
    path.write_bytes(content(rows))
    assert rows_of(read_events(path)) == rows


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "is empty, expected 5 bytes per event"),
        (b"\0" * 9, "has 9 bytes, expected a multiple of 5"),
        (content([(1, 2, 0, 3), (4, 34, 0, 3)]), "1 events outside 34x34 pixels, .*"),
        (
            content([(1, 2, 0, 3), (4, 34, 0, 3)]),
            "the first is event 1 at x = 4, y = 3",
        ),
        (content([(34, 2, 0, 3)] * 2), "2 events outside .* event 0 at x = 34, y = 2"),
        (b"hello, world!!\n", "outside 34x34"),
        (b"\0" * 25, "has 25 bytes, allowed are 20"),
    ],
)
def test_a_damaged_file_says_what_is_wrong_and_what_to_do(
    tmp_path, monkeypatch, written, message
):
    monkeypatch.setattr(module, "MAX_BYTES", 20)
    path = tmp_path / "7.bin"
    path.write_bytes(written)
    with pytest.raises(ValueError, match=message) as error:
        read_events(path)
    assert str(path) in str(error.value)
    assert "get the original file again" in str(error.value)


def test_the_edges_of_the_bins():
    def steps(*times, num_steps=3, bin_us=3000):
        frames = bin_events(events([(0, 0, 0, t) for t in times]), num_steps, bin_us)
        return frames[:, 0, 0, 0].tolist()

    assert steps(0) == steps(1) == steps(3000) == [1, 0, 0]
    assert steps(3001) == steps(6000) == [0, 1, 0]
    assert steps(6001) == steps(9000) == [0, 0, 1]
    assert steps(9001) == steps(2**23 - 1) == steps() == [0, 0, 0]
    assert steps(0, 1, 2, 3, num_steps=4, bin_us=1) == [1, 1, 1, 0]


@given(st.lists(EVENT, max_size=30), st.integers(1, 9), st.integers(1, 2**21))
def test_binning_equals_a_loop(rows, num_steps, bin_us):
    expected = np.zeros((num_steps, 2, 34, 34))
    for x, y, p, t in rows:
        step = max(math.ceil(t / bin_us), 1) - 1
        if step < num_steps:
            expected[step, p, y, x] = 1
    frames = bin_events(events(rows), num_steps, bin_us)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, expected)


def half_away_from_zero(value):
    return math.copysign(math.floor(abs(value) + 0.5), value)


def stabilised(x, y, t):
    """The procedure of the data set's authors, word for word, with pixels from 1."""
    x, y = x + 1, y + 1
    if t <= 105e3:
        x, y = x - 3.5 * t / 105e3, y - 7 * t / 105e3
    elif t <= 210e3:
        x = x - 3.5 - 3.5 * (t - 105e3) / 105e3
        y = y - 7 + 7 * (t - 105e3) / 105e3
    else:
        x = x - 7 + 7 * (t - 210e3) / 105e3
    return half_away_from_zero(x) - 1, half_away_from_zero(y) - 1


RECORDED = st.tuples(
    st.integers(0, 33),
    st.integers(0, 33),
    st.integers(0, 1),
    # to 340 ms, and the places where a half is rounded
    st.integers(0, 340_000) | st.integers(0, 45).map(lambda n: 7500 * n),
)


@given(st.lists(RECORDED, max_size=30))
def test_stabilising_equals_the_published_procedure(rows):
    expected = []
    for x, y, p, t in rows:
        moved_x, moved_y = stabilised(x, y, t)
        if 0 <= moved_x <= 33 and 0 <= moved_y <= 33:
            expected.append((moved_x, moved_y, p, t))
    assert rows_of(stabilise(events(rows))) == expected


def test_stabilising_takes_the_triangle_out():
    corners = [(10, 10, 0, 0), (14, 17, 1, 105_000), (17, 10, 0, 210_000)]
    moved = rows_of(stabilise(events([*corners, (10, 10, 1, 315_000)])))
    assert [row[:2] for row in moved] == [(10, 10), (11, 10), (10, 10), (10, 10)]


def supported(row, others, window_us):
    x, y, _, t = row
    return any(
        abs(x - a) <= 1 and abs(y - b) <= 1 and 0 <= t - s <= window_us
        for a, b, _, s in others
    )


@given(st.lists(CLOSE, max_size=30), st.integers(1, 60))
def test_denoising_equals_a_loop(rows, window_us):
    expected = [
        row
        for place, row in enumerate(rows)
        if supported(row, rows[:place] + rows[place + 1 :], window_us)
    ]
    assert rows_of(denoise(events(rows), window_us)) == expected


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ((5, 5, 0, 900), True),  # the same pixel
        ((6, 4, 1, 900), True),  # touching, of the other polarity
        ((5, 5, 0, 899), False),  # too early
        ((7, 5, 0, 990), False),  # too far
        ((6, 6, 0, 1001), False),  # later
        ((5, 5, 0, 1000), True),  # at once
    ],
)
def test_an_event_stays_where_another_came_before(other, stays):
    kept = rows_of(denoise(events([other, (5, 5, 0, 1000)]), window_us=100))
    assert ((5, 5, 0, 1000) in kept) == stays


def test_neighbours_do_not_reach_around_the_edge():
    pairs = [(33, 5, 0, 10), (0, 6, 0, 11), (0, 0, 0, 20), (33, 33, 0, 21)]
    assert rows_of(denoise(events(pairs), window_us=2**23)) == []
