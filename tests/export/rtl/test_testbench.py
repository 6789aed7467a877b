"""The testbench refuses what a simulator would read without complaint."""

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SimulatorError,
    map_network,
    memory_images,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.simulators import (
    build,
    core_parameters,
    run_jobs,
    write_job,
)
from tests.export.random_networks import random_trial
from tests.export.rtl.programs import need


def last_word(content, new):
    return content[: content.rindex(b"\n", 0, -1) + 1] + new + b"\n"


def another_digit(content):
    """The last digit, turned."""
    return content[:-2] + (b"1" if content[-2:-1] == b"0" else b"0") + b"\n"


WRONG = {
    "last word missing": lambda text: text[: text.rindex(b"\n", 0, -1) + 1],
    "no end of line": lambda text: text[:-1],
    "one word more": lambda text: text + b"0\n",
    "another digit": another_digit,
    "an unknown digit": lambda text: last_word(text, b"7x"),
    "no number": lambda text: last_word(text, b"hello"),
    "empty": lambda text: b"",
}
FILES = ["mem/cfg.hex", "mem/pe1/route.hex", "mem/pe0/wgt.hex", "mem/pe1/tgt.hex",
         "mem/pe0/thr.hex", "in.hex"]  # fmt: skip


@pytest.fixture(scope="module", params=["icarus", "verilator"])
def job(request, tmp_path_factory):
    """A network on two PEs, built and written."""
    need(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    trial = random_trial(3)
    mapping = map_network(trial.network, smallest_chip(trial.network, 2))
    command = build(request.param, core_parameters([mapping]), folder)
    write_job(folder / "0", memory_images(mapping), trial.ticks)
    run_jobs(command, folder, [0])
    return folder, command


def refusal(job, name, content):
    """What the testbench says of a file with this content."""
    folder, command = job
    path = folder / "0" / name
    before = path.read_bytes()
    assert content != before
    path.write_bytes(content)
    try:
        with pytest.raises(SimulatorError) as caught:
            run_jobs(command, folder, [0], time_limit=60)
    finally:
        path.write_bytes(before)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(job, name):
    content = (job[0] / "0" / name).read_bytes()
    assert content.count(b"\n") > 1
    for damage, change in WRONG.items():
        said = refusal(job, name, change(content))
        assert f"REFUSED 0/{name}: " in said, damage


def test_images_for_another_core(job):
    content = (job[0] / "0" / "mem" / "cfg.hex").read_bytes()
    lines = content.split(b"\n")

    def changed(line, value):
        words = [int(word, 16) for word in lines[:-2]]
        words[line] = value
        words.append(sum(words) % (1 << 32))
        return b"".join(b"%08x\n" % word for word in words)

    for line, value, reason in [
        (0, 0x54544652, "not a configuration"),
        (1, 2, "unknown version"),
        (3, 200, "more layers"),
        (4, 3, "another number of PEs"),
        (7, 2, "unknown kind of layer"),
    ]:
        assert reason in refusal(job, "mem/cfg.hex", changed(line, value))


def test_spikes_that_are_not_sorted(job):
    words = [1, 5 << 16, 3 << 16 | 1, 0xFFFFFFFF]
    words.append(sum(words) % (1 << 32))
    content = b"".join(b"%08x\n" % word for word in words)
    assert "not sorted" in refusal(job, "in.hex", content)


def test_too_many_words_for_this_build(tmp_path):
    need("icarus")
    trial = random_trial(3)
    mapping = map_network(trial.network, smallest_chip(trial.network, 1))
    parameters = core_parameters([mapping])
    for name, file in [
        ("NEURONS", "thr"),
        ("WEIGHT_WORDS", "wgt"),
        ("TARGET_WORDS", "tgt"),
        ("ROUTE_WORDS", "route"),
    ]:
        smaller = {**parameters, name: parameters[name] - 1}
        folder = tmp_path / name
        folder.mkdir()
        command = build("icarus", smaller, folder)
        write_job(folder / "0", memory_images(mapping), np.asarray(trial.ticks))
        with pytest.raises(SimulatorError, match=rf"pe0/{file}\.hex: more words"):
            run_jobs(command, folder, [0])
