"""A host of the reference core, for cocotb: it drives the ports and listens.

Run by test_cocotb.py; the files of one network and what to expect lie in the folder
that the environment variable TTFS_JOB names.
"""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

JOB = Path(os.environ["TTFS_JOB"])
PATIENCE = 1_000_000  # cycles of one sample


def words(name):
    return [int(line, 16) for line in (JOB / "mem" / name).read_text().split()]


async def load(dut, pe, image, address, data):
    dut.load.value = 1
    dut.load_pe.value = pe
    dut.load_image.value = image
    dut.load_address.value = address
    dut.load_data.value = data
    await FallingEdge(dut.clock)
    dut.load.value = 0


async def load_network(dut):
    """By SPEC.md alone: the memory images and the words of the load port."""
    configuration = words("cfg.hex")
    _, _, ticks, layers, pes, inputs, _ = configuration[:7]
    for address, value in enumerate((ticks, layers, inputs)):
        await load(dut, 0, 0, address, value)
    for layer in range(layers):
        start = 7 + 4 * layer
        step, neurons, size, dense = configuration[start : start + 4]
        shape = neurons << 64 | size << 32 | dense << 16 | step
        await load(dut, 0, 1, layer, shape)
        for pe in range(pes):
            first = pe * size
            own = min(size, max(0, neurons - first))
            await load(dut, pe, 2, layer, (first & 0xFFFF) << 16 | own)
    counts = configuration[7 + 4 * layers :]
    for pe in range(pes):
        for image, name in enumerate(("route", "wgt", "tgt", "thr")):
            content = words(f"pe{pe}/{name}.hex")
            for address in range(counts[8 * pe + 2 * image]):
                await load(dut, pe, 3 + image, address, content[address])


async def run_sample(dut, spikes, rng, hurry):
    """Feed the spikes and collect the events; without hurry both sides make pauses."""
    feed = [*spikes, [0xFFFF, 0]]
    events, cycles = [], 0
    dut.start.value = 1
    await FallingEdge(dut.clock)
    dut.start.value = 0
    while dut.busy.value:
        offered = bool(feed) and (hurry or rng.random() < 0.5)
        dut.in_valid.value = int(offered)
        if offered:
            dut.in_tick.value, dut.in_id.value = feed[0]
        ready = hurry or rng.random() < 0.5
        dut.event_ready.value = int(ready)
        await RisingEdge(dut.clock)
        cycles += 1
        assert cycles < PATIENCE
        if offered and dut.in_ready.value:
            feed.pop(0)
        if ready and dut.event_valid.value:
            ports = (dut.event_tick, dut.event_layer, dut.event_neuron)
            events.append([int(port.value) for port in ports])
        await FallingEdge(dut.clock)
    assert not feed
    return events, cycles


@cocotb.test()
async def host(dut):
    job = json.loads((JOB / "expected.json").read_text())
    rng = random.Random(0)
    for port in ("load", "start", "in_valid", "event_ready"):
        getattr(dut, port).value = 0
    dut.reset.value = 1
    Clock(dut.clock, 10, unit="ns").start()
    for _ in range(2):
        await FallingEdge(dut.clock)
    dut.reset.value = 0
    await load_network(dut)
    for sample in job["samples"]:
        for hurry in (True, False):
            events, cycles = await run_sample(dut, sample["spikes"], rng, hurry)
            assert events == sample["events"]  # and so in the order that is promised
            if hurry:
                assert cycles == sample["cycles"]
            else:
                assert cycles > sample["cycles"]
            assert not dut.unsorted.value
            assert not dut.slope_overflow.value
            assert not dut.potential_overflow.value


@cocotb.test()
async def late_spike(dut):
    """The core keeps the network; a spike whose tick is over is reported, not lost."""
    dut.reset.value = 1
    Clock(dut.clock, 10, unit="ns").start()
    for _ in range(2):
        await FallingEdge(dut.clock)
    dut.reset.value = 0
    await run_sample(dut, [[1, 0], [0, 0]], random.Random(0), True)
    assert dut.unsorted.value
    job = json.loads((JOB / "expected.json").read_text())
    sample = job["samples"][0]
    events, _ = await run_sample(dut, sample["spikes"], random.Random(0), True)
    assert events == sample["events"]
    assert not dut.unsorted.value
