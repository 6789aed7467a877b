"""Read and run a ttfs-bundle 1.0 with nothing but Python: SPEC.md as a program.

    python reader.py FOLDER           check every file and every golden case
    python reader.py FOLDER IMAGE     also answer IMAGE, a file of one byte per pixel

Written for reading, not for speed; it shares no code with what writes bundles.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import sys
from pathlib import Path
from typing import Any

SILENT = 65535
FORMATS = {"i8": "b", "i32": "i", "u16": "H", "f64": "d"}
GEOMETRY = {
    "dense": (),
    "conv2d": ("stride", "padding"),
    "earliest_spike_pool2d": ("stride", "padding", "kernel_size"),
}
FEATURES = {*GEOMETRY, "first_spike", "pixel_lut", "ramp", "step"}
NEURON = ("response", "weight", "threshold", "scale", "weight_bits", "potential_bits")


class Refused(Exception):
    """The bundle is not one that may be trusted."""


def demand(true: bool, message: str) -> None:
    """Refuse the bundle unless something holds."""
    if not true:
        raise Refused(message)


def keys(entry: dict[str, Any], *names: str) -> None:
    """Refuse an object that lacks a key, or has one that is not known."""
    demand(
        set(entry) == set(names), f"keys {sorted(set(entry) ^ set(names))} are wrong"
    )


# --- files -------------------------------------------------------------------------


def read_bundle(folder: Path) -> dict[str, Any]:
    """Read and check manifest and files; golden cases are left to `check_golden`."""
    place = folder / "manifest.json"
    demand(place.is_file() and not place.is_symlink(), f"{folder} has no manifest.json")
    demand(place.stat().st_size <= 1 << 24, "manifest.json is too large")
    manifest = json.loads(place.read_bytes())
    wanted = "format spec_version required_features producer time input layers decoding"
    keys(manifest, *wanted.split(), "golden", "files", "extras")
    version = re.fullmatch(r"1\.0\.[0-9]+", str(manifest["spec_version"]))
    demand(manifest["format"] == "ttfs-bundle" and version is not None, "no 1.0 bundle")
    unknown = set(manifest["required_features"]) - FEATURES
    demand(not unknown, f"features {sorted(unknown)} are unknown")
    files = read_files(folder, manifest["files"])
    time, source, rules = (manifest[part] for part in ("time", "input", "decoding"))
    fixed: dict[str, Any] = {"time_bits": 16, "no_spike": SILENT}
    fixed |= {"layer_latency_ticks": 0, "layer_windows": None}
    keys(time, "num_ticks", "tick", *fixed)
    keys(source, "shape", "encoder")
    keys(rules, "rule", "tie", "no_output")
    ticks, encoder = time["num_ticks"], source["encoder"]
    demand(all(time[key] == fixed[key] for key in fixed), "time is not that of 1.0")
    demand(2 <= ticks <= SILENT, f"num_ticks is {ticks}")
    demand(rules["tie"] in ("max_v_at_tie", "lowest_index", "reject"), "tie is unknown")
    demand(rules["no_output"] in ("reject", "max_v_at_end"), "no_output is unknown")
    shapes, layers = [source["shape"]], []
    for entry in manifest["layers"]:
        layers.append(read_layer(entry, shapes[-1], files, ticks))
        shapes.append(layers[-1]["output_shape"])
    demand(layers[-1]["kind"] == "dense", "the last layer is not dense")
    responses = {layer["response"] for layer in layers if "response" in layer}
    demand(len(responses) == 1, "the layers have different responses")
    used = {rules["rule"], *responses, *(layer["kind"] for layer in layers)}
    lut = None
    if encoder["kind"] == "pixel_lut":
        keys(encoder, "kind", "table")
        used.add("pixel_lut")
        lut = tensor(encoder["table"], files, "u16")
        good = all(tick < ticks or tick == SILENT for tick in lut)
        demand(len(lut) == 256 and good, "the encoder is not 256 ticks")
        rows = [f"{pixel},{tick}" for pixel, tick in enumerate(lut)]
        same("golden/encoder.csv", files, "pixel,tick", rows)
    demand(used == set(manifest["required_features"]), f"{sorted(used)} are required")
    bundle = {"ticks": ticks, "shapes": shapes, "layers": layers, "rules": rules}
    return {**bundle, "lut": lut, "files": files, "golden": manifest["golden"]}


def read_files(folder: Path, listed: dict[str, Any]) -> dict[str, bytes]:
    """Content of every file: as listed, and no other is there."""
    paths = list(folder.rglob("*"))
    for path in paths:
        plain = (path.is_file() or path.is_dir()) and not path.is_symlink()
        demand(plain, f"{path} is no plain file")
    found = {path.relative_to(folder).as_posix() for path in paths if path.is_file()}
    differ = found ^ {"manifest.json", *listed}
    demand(not differ, f"{sorted(differ)} are not both listed and present")
    files = {}
    for name, entry in listed.items():
        demand(
            (folder / name).stat().st_size == entry["size"], f"{name} has another size"
        )
        files[name] = (folder / name).read_bytes()
        sha256 = hashlib.sha256(files[name]).hexdigest()
        demand(sha256 == entry["sha256"], f"{name} has another SHA-256")
    return files


def tensor(entry: dict[str, Any], files: dict[str, bytes], dtype: str) -> list[Any]:
    """The numbers of a tensor, row-major."""
    keys(entry, "file", "dtype", "shape")
    code = f"<{math.prod(entry['shape'])}{FORMATS[dtype]}"
    content = files.get(entry["file"], b"")
    fits = entry["dtype"] == dtype and struct.calcsize(code) == len(content)
    demand(fits, f"{entry['file']} is not {dtype} {entry['shape']}")
    return list(struct.unpack(code, content))


def same(name: str, files: dict[str, bytes], header: str, rows: list[str]) -> None:
    """Refuse a golden file that is not what this program computes."""
    text = "\n".join([header, *rows, ""])
    demand(
        files.get(name) == text.encode("ascii"), f"{name}: the network gives another"
    )


# --- layers ------------------------------------------------------------------------


def read_layer(
    entry: dict[str, Any], shape: list[int], files: dict[str, bytes], ticks: int
) -> dict[str, Any]:
    """One layer: its numbers, checked. A dense one is a 1x1 kernel on a 1x1 image."""
    kind = entry["kind"]
    demand(kind in GEOMETRY, f"the layer {kind!r} is unknown")
    pool, ramp = kind == "earliest_spike_pool2d", entry.get("response") == "ramp"
    names = () if pool else (*NEURON, "slope_bits") if ramp else NEURON
    keys(entry, "kind", "output_shape", *GEOMETRY[kind], *names)
    image = [math.prod(shape), 1, 1] if kind == "dense" else shape
    demand(len(image) == 3, f"{kind} needs an input of three axes")
    size = [image[0], 1] if pool else entry["weight"]["shape"]
    side = entry["kernel_size"] if pool else size[2] if kind == "conv2d" else 1
    stride, padding = entry.get("stride", 1), entry.get("padding", 0)
    down, across = ((n + 2 * padding - side) // stride + 1 for n in image[1:])
    wanted = [size[0]] if kind == "dense" else [size[0], down, across]
    good = entry["output_shape"] == wanted and 0 < math.prod(wanted) <= 1 << 24
    demand(good, f"output_shape of {kind} is not {wanted}")
    layer = {**entry, "image": image, "side": side, "stride": stride}
    layer |= {"padding": padding, "places": (down, across)}
    if pool:
        return layer
    square = [side, side] if kind == "conv2d" else []
    demand(size[1:] == [image[0], *square], f"the weights of {kind} do not fit")
    weight = tensor(entry["weight"], files, "i8")
    threshold = tensor(entry["threshold"], files, "i32")
    limit = 1 << (entry["weight_bits"] - 1)
    demand(all(-limit <= w < limit for w in weight), "a weight has too many bits")
    demand(len(threshold) == size[0] and min(threshold) >= 1, "thresholds are wrong")
    fan_in = len(weight) // size[0]
    rows = [weight[start : start + fan_in] for start in range(0, len(weight), fan_in)]
    rise = [sum(w for w in row if w > 0) for row in rows]
    most = max(max(rise), *(-sum(w for w in row if w < 0) for row in rows))
    proved = max(most, *threshold)
    if ramp:
        demand(entry["slope_bits"] >= 1 + most.bit_length(), "slope_bits: too few")
        before = (v - 1 + p for v, p in zip(threshold, rise, strict=True))
        proved = max(*before, ticks * max(rise), *threshold)
    bits = 1 + proved.bit_length()
    demand(entry["potential_bits"] >= bits, f"potential_bits are below {bits}")
    return {**layer, "rows": rows, "threshold": threshold}


def windows(layer: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """For each place: its (pixel of a map, index in the kernel)."""
    (_, height, width), side = layer["image"], layer["side"]
    places = []
    for y in range(layer["places"][0]):
        for x in range(layer["places"][1]):
            top, left = (n * layer["stride"] - layer["padding"] for n in (y, x))
            inside = [
                ((top + a) * width + left + b, a * side + b)
                for a in range(max(0, -top), min(side, height - top))
                for b in range(max(0, -left), min(side, width - left))
            ]
            places.append(inside)
    return places


def connections(layer: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """For each source its connections: (neuron, weight)."""
    channels, height, width = layer["image"]
    size, kernel, places = height * width, layer["side"] ** 2, windows(layer)
    targets: list[list[tuple[int, int]]] = [[] for _ in range(channels * size)]
    for output, row in enumerate(layer["rows"]):
        for neuron, place in enumerate(places, start=output * len(places)):
            for channel in range(channels):
                for pixel, k in place:
                    weight = row[channel * kernel + k]
                    targets[channel * size + pixel].append((neuron, weight))
    return targets


# --- running -----------------------------------------------------------------------


def pool(layer: dict[str, Any], source: list[int]) -> dict[str, Any]:
    """Earliest spike of each window."""
    channels, height, width = layer["image"]
    maps = [source[c * height * width :] for c in range(channels)]
    spikes = [
        min((one[pixel] for pixel, _ in place), default=SILENT)
        for one in maps
        for place in windows(layer)
    ]
    return {"tick": spikes, "operations": 0, "updates": 0}


def fire(layer: dict[str, Any], source: list[int], ticks: int) -> dict[str, Any]:
    """Spikes of neurons, the phases of SPEC.md tick by tick, and what they leave."""
    targets, ramp = connections(layer), layer["response"] == "ramp"
    each = layer["places"][0] * layer["places"][1]
    threshold = [v for v in layer["threshold"] for _ in range(each)]
    neurons = range(len(threshold))
    lowest = -(1 << (layer["potential_bits"] - 1))
    slope, potential, exact = ([0] * len(neurons) for _ in range(3))
    spikes, margin = [SILENT] * len(neurons), [0] * len(neurons)
    operations = updates = 0
    for tick in range(ticks):
        come = [index for index, spike in enumerate(source) if spike == tick]
        if ramp:  # INTEGRATE
            exact = [v + g for v, g in zip(exact, slope, strict=True)]
            for n in neurons:
                if spikes[n] == SILENT:
                    potential[n] = max(potential[n] + slope[n], lowest)
        else:  # ACCUMULATE
            for n, weight in (pair for index in come for pair in targets[index]):
                exact[n] += weight
                operations += 1
            potential = exact
        for n in neurons if ramp or come else ():  # FIRE
            if spikes[n] == SILENT:
                updates += 1
                demand(potential[n] < -lowest, "a potential overflows")
                if potential[n] >= threshold[n]:
                    spikes[n], margin[n] = tick, exact[n] - threshold[n]
        if ramp:  # ACCUMULATE
            for n, weight in (pair for index in come for pair in targets[index]):
                slope[n] += weight
                operations += 1
    for n in neurons:  # the margin of a silent one is that of the end
        margin[n] = margin[n] if spikes[n] != SILENT else exact[n] - threshold[n]
    result = {"tick": spikes, **({"slope": slope} if ramp else {}), "margin": margin}
    return {**result, "operations": operations, "updates": updates}


def run(bundle: dict[str, Any], source: list[int], start: int = 0) -> dict[str, Any]:
    """Run the layers from `start` on, and decide by the bundle's rules."""
    results: list[dict[str, Any]] = []
    rules = bundle["rules"]
    for layer in bundle["layers"][start:]:
        before = results[-1]["tick"] if results else source
        neurons = "response" in layer
        found = fire(layer, before, bundle["ticks"]) if neurons else pool(layer, before)
        results.append(found)
    spikes, margin = results[-1]["tick"], results[-1]["margin"]
    first = min(spikes)
    leading = [n for n, tick in enumerate(spikes) if tick == first]
    best = max(leading, key=lambda n: (margin[n], -n))
    tied, label = first != SILENT and len(leading) > 1, leading[0]
    if first == SILENT:
        label = best if rules["no_output"] == "max_v_at_end" else -1
    elif tied:
        label = {"max_v_at_tie": best, "lowest_index": label, "reject": -1}[
            rules["tie"]
        ]
    fired = [
        sum(t != SILENT for t in s) for s in (source, *(r["tick"] for r in results))
    ]
    counts = {name: [r[name] for r in results] for name in ("operations", "updates")}
    answer = {"label": label, "tick": first, "tied": tied, "spikes": fired, **counts}
    return {"layers": results, "answer": answer}


def check_golden(bundle: dict[str, Any], case: dict[str, Any]) -> None:
    """Run one golden case and compare all its files."""
    keys(case, "folder", "name", "start_layer")
    folder, start, files = case["folder"], case["start_layer"], bundle["files"]
    demand(0 <= start < len(bundle["layers"]), f"{folder} starts behind the network")
    source = [SILENT] * math.prod(bundle["shapes"][start])
    for line in files.get(f"{folder}/in.csv", b"").decode("ascii").splitlines()[1:]:
        neuron, tick = (int(number) for number in line.split(","))
        inside = 0 <= neuron < len(source) and 0 <= tick < bundle["ticks"]
        demand(inside, f"{folder}/in.csv: {line} is out of range")
        source[neuron] = tick
    found = run(bundle, source, start)
    for index, result in enumerate(found["layers"], start=start):
        names = [name for name in ("tick", "slope", "margin") if name in result]
        table = enumerate(zip(*(result[name] for name in names), strict=True))
        rows = [",".join(map(str, (neuron, *row))) for neuron, row in table]
        same(f"{folder}/layer_{index}.csv", files, ",".join(["neuron", *names]), rows)
    answer = json.dumps(found["answer"], sort_keys=True, indent=1)
    same(f"{folder}/result.json", files, answer, [])


def main() -> None:
    """Check a bundle, and answer an image if one is given."""
    demand(len(sys.argv) in (2, 3), "give the folder of a bundle, and perhaps an image")
    bundle = read_bundle(Path(sys.argv[1]))
    for case in bundle["golden"]:
        check_golden(bundle, case)
        print(f"{case['folder']} {case['name']}: as stated")
    if len(sys.argv) == 3:
        pixels, size = Path(sys.argv[2]).read_bytes(), math.prod(bundle["shapes"][0])
        demand(bundle["lut"] is not None, "the bundle takes ticks, not pixels")
        demand(
            len(pixels) == size, f"{sys.argv[2]} has {len(pixels)} bytes, not {size}"
        )
        answer = run(bundle, [bundle["lut"][pixel] for pixel in pixels])["answer"]
        print(f"class {answer['label']} at tick {answer['tick']}")


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError, ValueError, LookupError, TypeError) as error:
        sys.exit(f"refused: {error}")
