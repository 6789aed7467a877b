"""What readers make of encodings in NIR, good and bad: results/nir_conformance.json.

    make conformance
    python results/nir_conformance.py                    # readers of this environment
    python results/nir_conformance.py --reader spyx=.venv-spyx/bin/python

Random integer networks are written in each encoding and run in each reader; what counts
is the share of first output spikes, silent ones included, that have the tick of the
integer emulator. Readers let a spike act in its own tick or in the next one, so a
uniform shift is allowed, and the one that fits best is taken. Readers that are not run
keep what the file says of them.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from numpy.typing import NDArray

from snn_temporal_plugins.export import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    PoolLayer,
    emulate,
    to_nir,
)
from snn_temporal_plugins.export.nir_hosts import (
    load_in_norse,
    load_in_snntorch,
    load_in_spikingjelly,
)

HERE = Path(__file__).parent
RESULT = HERE / "nir_conformance.json"
NUM_TICKS = 40
SEEDS = range(2)
LONG = 2.0**30  # time constants, in steps of DT
DT = 1e-4


class Encoding(NamedTuple):
    """A way to write a network.

    Attributes:
        name: what the table says.
        write: a graph of an integer network.
        networks: by seed.
    """

    name: str
    write: Callable[[IntegerNetwork], nir.NIRGraph]
    networks: Callable[[int], IntegerNetwork]


# --- networks ---------------------------------------------------------------------


def neurons(rng: np.random.Generator, shape: tuple[int, ...], part: float) -> Any:
    """A layer whose neurons fire after some part of its inputs have come."""
    weight = rng.integers(-5, 9, shape).astype(np.int32)
    weight.reshape(len(weight), -1)[:, 0] |= 1
    rise = np.maximum(weight, 0).reshape(len(weight), -1).sum(axis=1).mean()
    threshold = np.full(len(weight), max(1, int(part * rise)), dtype=np.int64)
    if len(shape) == 2:
        return IntegerDense(weight, threshold, np.ones(len(weight)))
    return IntegerConv(weight, threshold, np.ones(len(weight)), stride=1, padding=1)


def dense(
    *sizes: int, response: str = "ramp", part: float | None = None
) -> Callable[[int], IntegerNetwork]:
    """Networks of dense layers."""
    part = part or (4.0 if response == "ramp" else 0.3)

    def make(seed: int) -> IntegerNetwork:
        rng = np.random.default_rng([20261123, seed])
        layers = tuple(neurons(rng, (b, a), part) for a, b in pairwise(sizes))
        return IntegerNetwork(layers, sizes[:1], NUM_TICKS, 1.0, response)

    return make


def image(*, pool: bool, response: str = "ramp") -> Callable[[int], IntegerNetwork]:
    """Networks of a convolution, with or without a pool, and a dense layer."""
    part = 4.0 if response == "ramp" else 0.3

    def make(seed: int) -> IntegerNetwork:
        rng = np.random.default_rng([20261123, seed])
        layers = [neurons(rng, (3, 2, 3, 3), part)]
        if pool:
            layers.append(PoolLayer(2, 2, 0))
        layers.append(neurons(rng, (5, 27 if pool else 108), part))
        return IntegerNetwork(tuple(layers), (2, 6, 6), NUM_TICKS, 1.0, response)

    return make


def inputs(network: IntegerNetwork, seed: int) -> NDArray[np.int32]:
    """Ticks of random inputs."""
    rng = np.random.default_rng([20261124, seed])
    ticks = rng.integers(0, NUM_TICKS // 2, (20, *network.input_shape))
    return np.where(rng.random(ticks.shape) < 0.2, SILENT, ticks).astype(np.int32)


# --- encodings --------------------------------------------------------------------


def chain(
    network: IntegerNetwork, fire: Callable[[int, float], Mapping[str, Any]]
) -> nir.NIRGraph:
    """Linear and what fires, layer after layer, without nested graphs."""
    nodes: dict[str, Any] = {"input": nir.Input(np.array(network.input_shape))}
    for index, layer in enumerate(network.layers):
        nodes[f"l{index}b_synapse"] = nir.Linear(layer.weight.astype(np.float32))
        made = fire(len(layer.weight), float(layer.threshold[0]) - 0.5)
        nodes |= {f"l{index}{name}": node for name, node in made.items()}
    nodes["output"] = nir.Output(np.array(network.shapes[-1]))
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(nodes)))


def cubalif(size: int, threshold: float, v_reset: float = 0.0) -> nir.CubaLIF:
    ones = np.ones(size, dtype=np.float32)
    return nir.CubaLIF(
        tau_syn=ones * (DT * LONG),
        tau_mem=ones * (DT * LONG),
        r=ones * LONG,
        w_in=ones * LONG,
        v_leak=0 * ones,
        v_threshold=ones * threshold,
        v_reset=ones * v_reset,
    )


def i_if(network: IntegerNetwork) -> nir.NIRGraph:
    def fire(size: int, threshold: float) -> dict[str, Any]:
        ones = np.ones(size, dtype=np.float32)
        return {
            "c_integrate": nir.I(r=ones),
            "d_fire": nir.IF(r=ones, v_threshold=ones * threshold, v_reset=0 * ones),
        }

    return chain(network, fire)


def li_if(network: IntegerNetwork) -> nir.NIRGraph:
    def fire(size: int, threshold: float) -> dict[str, Any]:
        ones = np.ones(size, dtype=np.float32)
        tau = ones * (DT * LONG)
        return {
            "c_integrate": nir.LI(tau=tau, r=ones * LONG, v_leak=0 * ones),
            "d_fire": nir.IF(r=ones, v_threshold=ones * threshold, v_reset=0 * ones),
        }

    return chain(network, fire)


def plain(network: IntegerNetwork) -> nir.NIRGraph:
    return chain(network, lambda size, v_th: {"c_fire": cubalif(size, v_th)})


def deep_reset(network: IntegerNetwork) -> nir.NIRGraph:
    return chain(
        network, lambda size, v_th: {"c_fire": cubalif(size, v_th, -(2.0**23))}
    )


def plain_if(network: IntegerNetwork) -> nir.NIRGraph:
    def fire(size: int, threshold: float) -> dict[str, Any]:
        ones = np.ones(size, dtype=np.float32)
        return {
            "c_fire": nir.IF(
                r=ones / DT, v_threshold=ones * threshold, v_reset=0 * ones
            )
        }

    return chain(network, fire)


def flat_loop(network: IntegerNetwork) -> nir.NIRGraph:
    """The nodes of NIR-ReLPSP/1 without the nested graph around the loop."""
    graph = plain(network)
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for index, layer in enumerate(network.layers):
        loop = f"l{index}d_loop"
        size = len(layer.weight)
        nodes[loop] = nir.Linear((-(2.0**20) * np.eye(size)).astype(np.float32))
        edges += [(f"l{index}c_fire", loop), (loop, f"l{index}c_fire")]
    return nir.NIRGraph(nodes=nodes, edges=edges)


ENCODINGS = (
    Encoding("NIR-ReLPSP/1, 1 layer", to_nir, dense(12, 8)),
    Encoding("NIR-ReLPSP/1, 3 layers", to_nir, dense(12, 10, 9, 5)),
    Encoding(
        "NIR-ReLPSP/1, slopes above the threshold", to_nir, dense(12, 10, 5, part=0.2)
    ),
    Encoding("NIR-ReLPSP/1, convolution", to_nir, image(pool=False)),
    Encoding("NIR-ReLPSP/1, convolution and pool", to_nir, image(pool=True)),
    Encoding("NIR-IF/1, 3 layers", to_nir, dense(12, 10, 9, 5, response="step")),
    Encoding(
        "NIR-IF/1, convolution and pool", to_nir, image(pool=True, response="step")
    ),
    Encoding("I, IF", i_if, dense(12, 10, 5)),
    Encoding("LI, IF", li_if, dense(12, 10, 5)),
    Encoding("CubaLIF, 1 layer", plain, dense(12, 8)),
    Encoding("CubaLIF, 2 layers", plain, dense(12, 10, 5)),
    Encoding("CubaLIF, v_reset = -2^23, 2 layers", deep_reset, dense(12, 10, 5)),
    Encoding("CubaLIF, loop not nested, 1 layer", flat_loop, dense(12, 8)),
    Encoding("CubaLIF, loop not nested, 2 layers", flat_loop, dense(12, 10, 5)),
    Encoding("IF for steps, 1 layer", plain_if, dense(12, 8, response="step")),
    Encoding("IF for steps, 2 layers", plain_if, dense(12, 10, 5, response="step")),
)


# --- readers ----------------------------------------------------------------------


class Job(NamedTuple):
    """A file and its input."""

    path: Path
    ticks: NDArray[np.int32]


Answer = NDArray[np.int32] | tuple[str, str]
"""First spikes, or class and words of an error."""


@torch.no_grad()
def step_through(load: Callable[[nir.NIRGraph], Any], job: Job) -> Answer:
    """Run a file in a reader of this environment."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            network, state = load(nir.read(job.path)), None
            first = None
            for tick in range(NUM_TICKS):
                step = torch.from_numpy(job.ticks == tick).float()
                output, state = network(step, state)
                if first is None:
                    first = np.full(output.shape, SILENT, dtype=np.int32)
                first[(output.numpy() > 0) & (first == SILENT)] = tick
        except Exception as error:  # whatever a reader raises is its answer
            return type(error).__name__, str(error)[:300]
        finally:
            logging.disable(logging.NOTSET)
    return first


LOADERS = {
    "snnTorch": (load_in_snntorch, ("snntorch", "nirtorch", "nir", "torch")),
    "Norse": (load_in_norse, ("norse", "nirtorch", "nir", "torch")),
    "SpikingJelly": (
        load_in_spikingjelly,
        ("spikingjelly", "nirtorch", "nir", "torch"),
    ),
}
OTHERS = {"spyx": "Spyx", "rockpool": "Rockpool", "snn_mlir": "snn-mlir"}
"""Readers with a Python of their own, and what the table calls them."""


def run_here(reader: str, jobs: Sequence[Job]) -> tuple[dict[str, str], list[Answer]]:
    """Versions and answers of a reader of this environment."""
    load, packages = LOADERS[reader]
    versions = {name: version(name).partition("+")[0] for name in packages}
    return versions, [step_through(load, job) for job in jobs]


def run_apart(
    reader: str, python: str, jobs: Sequence[Job]
) -> tuple[dict[str, str], list[Answer]]:
    """Versions and answers of a reader that another Python has."""
    folder = jobs[0].path.parent
    program = HERE / "nir_readers" / f"run_{reader}.py"
    subprocess.run(
        [python, str(program), str(folder)],
        check=True,
        # Rockpool's import would have pip install a driver over the network
        env={**os.environ, "PIP_NO_INDEX": "1", "JAX_PLATFORMS": "cpu"},
    )
    answers: list[Answer] = []
    for job in jobs:
        with np.load(job.path.with_suffix(".out.npz"), allow_pickle=False) as out:
            if "error" in out:
                name, words = (str(word) for word in out["error"])
                answers.append((name, words))
            else:
                answers.append(out["first"])
    versions = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    return versions, answers


# --- the table --------------------------------------------------------------------


def score(
    network: IntegerNetwork, ticks: NDArray[np.int32], first: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Share of right ticks for each shift that depth could explain."""
    wanted = emulate(network, ticks).output_ticks
    if first.shape != wanted.shape:
        return np.zeros(len(network.layers) + 1)
    shares = []
    for shift in range(len(network.layers) + 1):
        late = np.where(first < network.num_ticks - shift, first + shift, SILENT)
        shares.append((late == wanted).mean())
    return np.array(shares)


def cell(encoding: Encoding, answers: Sequence[Answer]) -> dict[str, Any]:
    """What a reader made of an encoding: per cent and shift, or its first error."""
    shares = []
    for seed, answer in zip(SEEDS, answers, strict=True):
        if isinstance(answer, tuple):
            return {"error": answer[0], "message": answer[1]}
        if not answer.size:
            return {"accepted": True}
        network = encoding.networks(seed)
        shares.append(score(network, inputs(network, seed), answer))
    mean = np.mean(shares, axis=0)
    shift = int(mean.argmax())
    return {"percent": round(100 * float(mean[shift]), 1), "shift": shift}


def write_jobs(folder: Path) -> list[Job]:
    """All encodings of all seeds, in their order."""
    jobs = []
    for encoding in ENCODINGS:
        for seed in SEEDS:
            network = encoding.networks(seed)
            job = Job(folder / f"{len(jobs)}.nir", inputs(network, seed))
            write_job(network, encoding.write(network), job)
            jobs.append(job)
    return jobs


def write_job(network: IntegerNetwork, graph: nir.NIRGraph, job: Job) -> None:
    """The files that readers in other Pythons look for."""
    nir.write(job.path, graph)
    np.savez(job.path.with_suffix(".npz"), ticks=job.ticks, num_ticks=network.num_ticks)


def measure(pythons: Mapping[str, str], here: Sequence[str]) -> dict[str, Any]:
    """Rows of the table of the readers that can be run.

    Args:
        pythons: interpreters of the readers in `OTHERS`.
        here: readers in `LOADERS`.
    """
    table: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = write_jobs(Path(folder))
        runs = [(reader, run_here, (reader, jobs)) for reader in here]
        for reader, python in pythons.items():
            runs.append((OTHERS[reader], run_apart, (reader, python, jobs)))
        for reader, run, arguments in runs:
            versions, answers = run(*arguments)
            cells = {}
            for index, encoding in enumerate(ENCODINGS):
                part = answers[index * len(SEEDS) : (index + 1) * len(SEEDS)]
                cells[encoding.name] = cell(encoding, part)
            table[reader] = {"versions": versions, "encodings": cells}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--reader",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"a reader with a Python of its own: {', '.join(OTHERS)}",
    )
    pythons = dict(given.split("=", 1) for given in parser.parse_args().reader)
    unknown = pythons.keys() - OTHERS.keys()
    if unknown:
        parser.error(f"unknown readers: {', '.join(unknown)}")
    table = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    table |= measure(pythons, tuple(LOADERS))
    RESULT.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
