"""Read and run a ttfs-bundle 1.0.1 with nothing but Python: SPEC.md as a program.

    python reader.py BUNDLE           check every file and every golden case
    python reader.py BUNDLE IMAGE     also answer IMAGE, a file of one byte per pixel

BUNDLE is the directory or the zip. Written for reading, not for speed; it shares no
code with what writes bundles, and writes nothing. It cannot vouch for itself: compare
its SHA-256 with the published one. Images of memories it takes as they are.
"""

import hashlib
import io
import json
import math
import struct
import sys
import zipfile
from itertools import accumulate
from pathlib import Path
from typing import Any

SILENT = 65535
FORMATS = {"i8": "b", "i32": "i", "u16": "H", "f64": "d"}
GEOMETRY = {
    "dense": (),
    "conv2d": ("stride", "padding"),
    "earliest_spike_pool2d": ("stride", "padding", "kernel_size"),
}
NEURON = ("response", "weight", "threshold", "scale", "weight_bits", "potential_bits")
BYTES, FILES, WEIGHTS, VALUES, WINDOWS, WORK = (
    1 << bits for bits in (27, 13, 24, 20, 23, 33)
)


class Refused(Exception):
    """The bundle is not one that may be trusted."""


def demand(true: bool, message: str) -> None:
    """Refuse the bundle unless something holds."""
    if not true:
        raise Refused(message)


def keys(entry: dict[str, Any], *names: str) -> None:
    """Refuse an object that lacks a key, or has one that is not known."""
    wrong = sorted(set(entry) ^ set(names))
    demand(not wrong, f"keys {wrong} are wrong")


# --- files -------------------------------------------------------------------------


def load(path: Path) -> dict[str, bytes]:
    """Content of every file of a directory, or of the one zip that holds the same."""
    if path.is_dir():
        found, size = {}, 0
        for place in path.rglob("*"):
            plain = (place.is_file() or place.is_dir()) and not place.is_symlink()
            demand(plain, f"{place} is no plain file")
            if place.is_file():
                found[place.relative_to(path).as_posix()] = place
                size += place.stat().st_size
            demand(size <= BYTES and len(found) <= FILES, f"{path} is too large")
        return {name: place.read_bytes() for name, place in found.items()}
    demand(path.is_file() and path.stat().st_size <= BYTES, f"{path} is no bundle")
    content, at = path.read_bytes(), 0
    files: dict[str, bytes] = {}
    while content[at : at + 4] == b"PK\3\4" and len(files) <= FILES:
        size, _, length = struct.unpack_from("<LLH", content, at + 18)
        start = at + 30 + length
        files[content[at + 30 : start].decode("ascii")] = content[start : start + size]
        at = start + size
    demand(content == zipped(files), f"{path} is not the zip that SPEC.md describes")
    return files


def zipped(files: dict[str, bytes]) -> bytes:
    """The zip of these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # stored, of 1 January 1980
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entries.writestr(entry, files[name])
    return archive.getvalue()


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no key stands twice."""
    demand(len(dict(pairs)) == len(pairs), "manifest.json repeats a key")
    return dict(pairs)


def read_bundle(path: Path) -> dict[str, Any]:
    """Read and check all but the golden cases; `files` keeps what was not used yet."""
    files = load(path)
    demand("manifest.json" in files, f"{path} has no manifest.json")
    demand(len(files["manifest.json"]) <= 1 << 20, "manifest.json is too large")
    manifest = json.loads(files.pop("manifest.json"), object_pairs_hook=unique)
    version = (manifest["format"], manifest["spec_version"])
    demand(version == ("ttfs-bundle", "1.0.1"), f"{version} is no ttfs-bundle 1.0.1")
    wanted = "format spec_version required_features producer time input layers decoding"
    chip = ["mapping"] if "mapping" in manifest else []
    keys(manifest, *wanted.split(), "golden", "files", "extras", *chip)
    differ = sorted(set(files) ^ set(manifest["files"]))
    demand(not differ, f"{differ} are not both listed and present")
    for name, content in files.items():
        stated = manifest["files"][name]
        right = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        demand(stated == right, f"{name} has another size or SHA-256")
    for name in ("SPEC.md", "reader.py", "schema/manifest.schema.json"):
        del files[name]
    time, source, rules = (manifest[part] for part in ("time", "input", "decoding"))
    fixed: dict[str, Any] = {"time_bits": 16, "no_spike": SILENT}
    fixed |= {"layer_latency_ticks": 0, "layer_windows": None}
    keys(manifest["producer"], "name", "version")
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
    check_limits(layers, ticks, manifest["golden"])
    demand(layers[-1]["kind"] == "dense", "the last layer is not dense")
    responses = {layer["response"] for layer in layers if "response" in layer}
    demand(len(responses) == 1, "the layers have different responses")
    used = {rules["rule"], *responses, *(layer["kind"] for layer in layers)}
    used |= {f"tie_{rules['tie']}", f"no_output_{rules['no_output']}"}
    lut = None
    if encoder["kind"] == "pixel_lut":
        keys(encoder, "kind", "table")
        used.add("pixel_lut")
        lut = tensor(encoder["table"], files, "u16")
        good = all(tick < ticks or tick == SILENT for tick in lut)
        demand(len(lut) == 256 and good, "the encoder is not 256 ticks")
        rows = [f"{pixel},{tick}" for pixel, tick in enumerate(lut)]
        same("golden/encoder.csv", files, "pixel,tick", rows)
    stated = manifest["required_features"]
    demand(sorted(used) == sorted(stated), f"{stated} are not {sorted(used)}")
    free = ("extras/", *(("mem/", "rtl/", "reports/mapping.json") if chip else ()))
    bundle = {"ticks": ticks, "shapes": shapes, "layers": layers, "rules": rules}
    bundle |= {"lut": lut, "golden": manifest["golden"], "free": free}
    return {**bundle, "files": files}


def check_limits(layers: list[dict[str, Any]], ticks: int, cases: list[Any]) -> None:
    """Refuse what would take too long or too much memory."""
    for layer in layers:
        demand(layer["windows"] <= WINDOWS, f"{layer['windows']} values in windows")
    values = sum(layer["values"] for layer in layers)
    weights = sum(len(row) for layer in layers for row in layer.get("rows", ()))
    demand(values <= VALUES and weights <= WEIGHTS, "the network is too large")
    each = [layer["connections"] + ticks * (100 + layer["values"]) for layer in layers]
    work = list(accumulate(reversed(each)))[::-1]
    starts = [case["start_layer"] for case in cases]
    demand(all(0 <= start < len(work) for start in starts), f"cases start at {starts}")
    total = sum(work[start] for start in starts)
    demand(total <= WORK, f"the golden cases take {total} steps of work")


def tensor(entry: dict[str, Any], files: dict[str, bytes], dtype: str) -> list[Any]:
    """The numbers of a tensor, row-major."""
    keys(entry, "file", "dtype", "shape")
    content = files.pop(entry["file"])
    code = f"<{math.prod(entry['shape'])}{FORMATS[dtype]}"
    fits = entry["dtype"] == dtype and struct.calcsize(code) == len(content)
    demand(fits, f"{entry['file']} is not {dtype} {entry['shape']}")
    return list(struct.unpack(code, content))


def same(name: str, files: dict[str, bytes], header: str, rows: list[str]) -> None:
    """Refuse a golden file that is not what this program computes."""
    right = files.pop(name) == "\n".join([header, *rows, ""]).encode("ascii")
    demand(right, f"{name}: the network gives another")


# --- layers ------------------------------------------------------------------------


def read_layer(
    entry: dict[str, Any], shape: list[int], files: dict[str, bytes], ticks: int
) -> dict[str, Any]:
    """One layer: its numbers, checked. A dense one is a 1x1 kernel on a 1x1 image."""
    kind = entry["kind"]
    demand(kind in GEOMETRY, f"the layer {kind!r} is unknown")
    pool, ramp = kind == "earliest_spike_pool2d", entry.get("response") == "ramp"
    demand(pool or entry["response"] in ("ramp", "step"), "the response is unknown")
    names = () if pool else (*NEURON, "slope_bits") if ramp else NEURON
    keys(entry, "kind", "output_shape", *GEOMETRY[kind], *names)
    image = [math.prod(shape), 1, 1] if kind == "dense" else shape
    demand(len(image) == 3, f"{kind} needs an input of three axes")
    size = [image[0], 1] if pool else entry["weight"]["shape"]
    side = entry["kernel_size"] if pool else size[2] if kind == "conv2d" else 1
    stride, padding = entry.get("stride", 1), entry.get("padding", 0)
    down, across = ((n + 2 * padding - side) // stride + 1 for n in image[1:])
    wanted = [size[0]] if kind == "dense" else [size[0], down, across]
    good = entry["output_shape"] == wanted and min(wanted) > 0 and padding >= 0
    demand(good, f"output_shape of {kind} is not {wanted}")
    padded = image[0] * math.prod(n + 2 * padding for n in image[1:])
    windows = image[0] * down * across * side**2
    layer = {**entry, "image": image, "side": side, "stride": stride}
    layer |= {"padding": padding, "places": (down, across), "windows": windows}
    layer["values"] = padded + math.prod(wanted)
    layer["connections"] = windows if pool else windows * size[0]
    if pool:
        return layer
    square = [side, side] if kind == "conv2d" else []
    demand(size[1:] == [image[0], *square], f"the weights of {kind} do not fit")
    weight = tensor(entry["weight"], files, "i8")
    threshold = tensor(entry["threshold"], files, "i32")
    scale = tensor(entry["scale"], files, "f64")
    demand(all(0 < number < math.inf for number in scale), "a scale is not positive")
    limit = 1 << (entry["weight_bits"] - 1)
    fits = entry["weight_bits"] <= 8 and all(-limit <= w < limit for w in weight)
    demand(fits, "a weight has too many bits")
    fits = len(threshold) == len(scale) == size[0] and min(threshold) >= 1
    demand(fits, "thresholds are wrong")
    fan_in = len(weight) // size[0]
    rows = [weight[start : start + fan_in] for start in range(0, len(weight), fan_in)]
    rise = [sum(w for w in row if w > 0) for row in rows]
    most = max(max(rise), *(-sum(w for w in row if w < 0) for row in rows))
    proved = max(most, *threshold)
    if ramp:
        demand(32 >= entry["slope_bits"] > most.bit_length(), "slope_bits: too few")
        before = (v - 1 + p for v, p in zip(threshold, rise, strict=True))
        proved = max(*before, ticks * max(rise), *threshold)
    bits = 1 + proved.bit_length()
    demand(32 >= entry["potential_bits"] >= bits, f"potential_bits are below {bits}")
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
    places = windows(layer)
    spikes = [
        min((source[c * height * width + pixel] for pixel, _ in place), default=SILENT)
        for c in range(channels)
        for place in places
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
        winners = {"max_v_at_tie": best, "lowest_index": label, "reject": -1}
        label = winners[rules["tie"]]
    trains = [source, *(result["tick"] for result in results)]
    fired = [sum(tick != SILENT for tick in train) for train in trains]
    counts = {name: [r[name] for r in results] for name in ("operations", "updates")}
    answer = {"label": label, "tick": first, "tied": tied, "spikes": fired, **counts}
    return {"layers": results, "answer": answer}


def check_golden(bundle: dict[str, Any], index: int) -> str:
    """Run one golden case and compare all its files; its name."""
    case, files, folder = bundle["golden"][index], bundle["files"], f"golden/{index}"
    keys(case, "folder", "name", "start_layer")
    demand(case["folder"] == folder, f"the folder is {case['folder']}, not {folder}")
    start = case["start_layer"]
    source = [SILENT] * math.prod(bundle["shapes"][start])
    for line in files[f"{folder}/in.csv"].decode("ascii").splitlines()[1:]:
        neuron, tick = (int(number) for number in line.split(","))
        demand(0 <= tick < bundle["ticks"] and neuron >= 0, f"{line} is out of range")
        source[neuron] = tick
    given = [f"{n},{tick}" for n, tick in enumerate(source) if tick != SILENT]
    same(f"{folder}/in.csv", files, "neuron,tick", given)
    found = run(bundle, source, start)
    for layer, result in enumerate(found["layers"], start=start):
        names = [name for name in ("tick", "slope", "margin") if name in result]
        table = enumerate(zip(*(result[name] for name in names), strict=True))
        rows = [",".join(map(str, (neuron, *row))) for neuron, row in table]
        same(f"{folder}/layer_{layer}.csv", files, ",".join(["neuron", *names]), rows)
    answer = json.dumps(found["answer"], sort_keys=True, indent=1)
    same(f"{folder}/result.json", files, answer, [])
    return case["name"]


def check_all(bundle: dict[str, Any]) -> list[str]:
    """Run all golden cases; no file may be left over. The names of the cases."""
    names = [check_golden(bundle, index) for index in range(len(bundle["golden"]))]
    more = [name for name in bundle["files"] if not name.startswith(bundle["free"])]
    demand(bool(names) and not more, f"{more} are no files of the format")
    return names


def main() -> None:
    """Check a bundle, and answer an image if one is given."""
    demand(len(sys.argv) in (2, 3), "give a bundle, and perhaps an image")
    bundle = read_bundle(Path(sys.argv[1]))
    for index, name in enumerate(check_all(bundle)):
        print(f"golden/{index} {name}: as stated")
    if len(sys.argv) == 3:
        pixels, size = Path(sys.argv[2]).read_bytes(), math.prod(bundle["shapes"][0])
        demand(bundle["lut"] is not None, "the bundle takes ticks, not pixels")
        fits = len(pixels) == size
        demand(fits, f"{sys.argv[2]} has {len(pixels)} bytes, not {size}")
        answer = run(bundle, [bundle["lut"][pixel] for pixel in pixels])["answer"]
        print(f"class {answer['label']} at tick {answer['tick']}")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # whatever is wrong, the bundle is not accepted
        sys.exit(f"refused: {error!r}")
