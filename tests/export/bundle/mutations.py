"""Broken bundles, as many as there are seeds, and what must not happen with them.

    python -m tests.export.bundle.mutations FIRST LAST [plain]

reads the broken bundles of these seeds, with `plain` in the reader of plain Python, and
prints what became of them as JSON. A bundle must be refused with a code, or be
harmless: the same weights, thresholds, shapes, encoder, rules, chip, and the same
spikes. Nothing may be written, nothing outside the bundle opened, no case take longer
than its seconds, the process never grow by more than 1 GiB.
"""

import copy
import hashlib
import io
import json
import math
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from snn_temporal_plugins.export import (
    BundleError,
    PEDescriptor,
    emulate,
    latency_lut,
    read_bundle,
    write_bundle,
)
from snn_temporal_plugins.export.bundle.files import load_files, zip_bytes
from tests.export.bundle.plain import reader
from tests.export.networks import (
    conv_network,
    dense_network,
    random_ticks,
    step_network,
)

SECONDS, PLAIN_SECONDS = 20, 300
MEMORY = 1 << 30
CHIP = PEDescriptor("broken", 2, 99, 999, 999, 99, 8, 32, 32, 32)


class Bases:
    """The whole bundles that are broken, and what they read as."""

    def __init__(self, folder):
        small = {"sizes": (6, 5, 4), "num_ticks": 12, "threshold": 20}
        dense, conv = dense_network(2, **small), conv_network(num_ticks=12)
        networks = [dense, step_network(dense), conv, step_network(conv)]
        self.files, self.bundles, self.ticks, self.spikes = [], [], [], []
        for index, network in enumerate(networks):
            path = folder / f"base_{index}.zip"
            lut = latency_lut(network) if index % 2 == 0 else None
            chip = CHIP if index == 0 else None
            write_bundle(network, path, lut=lut, chip=chip, golden=1)
            rng = np.random.default_rng(index)
            self.ticks.append(random_ticks(rng, (8, *network.input_shape), 12))
            self.files.append(load_files(path))
            self.bundles.append(read_bundle(path))
            self.spikes.append(emulate(network, self.ticks[-1]).layer_ticks)

    def harmless(self, index, got):
        """Whether a bundle that was read means the same as this base."""
        base = self.bundles[index]
        same = [
            (got.decoding, base.decoding),
            (got.chip, base.chip),
            (got.network.response, base.network.response),
            (got.network.shapes, base.network.shapes),
            (math.prod(got.network.input_shape), math.prod(base.network.input_shape)),
            (got.lut is None, base.lut is None),
        ]
        if any(one != other for one, other in same):
            return False
        arrays = [] if base.lut is None else [(got.lut, base.lut)]
        for one, other in zip(got.network.layers, base.network.layers, strict=True):
            for name in ("weight", "threshold"):
                if hasattr(other, name):
                    arrays.append((getattr(one, name), getattr(other, name)))
        if got.network.num_ticks < base.network.num_ticks:
            return False
        # a dense layer reads 6 inputs and 1x2x3 alike, in row-major order
        ticks = self.ticks[index].reshape(-1, *got.network.input_shape)
        spikes = emulate(got.network, ticks).layer_ticks
        arrays += zip(spikes, self.spikes[index], strict=True)
        return all(np.array_equal(one, other) for one, other in arrays)


# --- changes of files --------------------------------------------------------------


def some_name(rng, files, *starts):
    names = sorted(name for name in files if name.startswith(starts or ("",)))
    return names[rng.integers(len(names))]


def flip_bits(rng, content):
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.3 else 1):
        if changed:
            changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def resize(rng, content):
    cut = int(rng.integers(len(content) + 1))
    more = rng.bytes(int(rng.integers(1, 40)))
    choices = [content[:cut], content + more, content[cut:], b"", content * 2]
    choices += [content + b"\n", content[:cut] + more + content[cut:]]
    return choices[rng.integers(len(choices))]


def edit_lines(rng, content):
    lines = content.split(b"\n")
    at, other = rng.integers(len(lines), size=2)
    kind = rng.integers(6)
    if kind == 0:
        lines.insert(at, lines[other])
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] += b"\r"
    else:
        fields = lines[at].split(b",")
        place = rng.integers(len(fields))
        digits = fields[place].strip()
        number = int(digits) if digits.lstrip(b"-").isdigit() else 0
        values = [number + 1, number - 1, -number, 65535, 1 << 70, "x", "1e3", " 1"]
        fields[place] = str(values[rng.integers(len(values))]).encode()
        lines[at] = b",".join(fields)
    return b"\n".join(lines)


def edit_numbers(rng, content):
    """Change values of an array, keeping its size."""
    changed = bytearray(content)
    one, other = rng.integers(len(changed), size=2)
    kind = rng.integers(4)
    if kind == 0:
        changed[one], changed[other] = changed[other], changed[one]
    elif kind == 1:
        changed[one] = int(rng.integers(256))
    elif kind == 2:
        changed[one] = (changed[one] + 1) % 256
        changed[other] = (changed[other] - 1) % 256
    else:
        return flip_bits(rng, content)
    return bytes(changed)


def change_file(rng, files):
    name = some_name(rng, files)
    files[name] = (flip_bits, resize)[rng.integers(2)](rng, files[name])


def lie_in_numbers(rng, files):
    name = some_name(rng, files, "tensors/", "encoder/")
    change = edit_numbers if rng.random() < 0.9 else resize
    files[name] = change(rng, files[name])
    rehash(files)


def lie_in_text(rng, files):
    starts = ("golden/", "mem/", "reports/", "rtl/", "SPEC", "reader", "schema")
    group = starts[rng.integers(len(starts))] if rng.random() < 0.6 else "golden/"
    if not any(name.startswith(group) for name in files):
        group = "golden/"
    name = some_name(rng, files, group)
    change = (edit_lines, edit_lines, flip_bits, resize)[rng.integers(4)]
    files[name] = change(rng, files[name])
    rehash(files)


def lie_by_copy(rng, files):
    one, other = some_name(rng, files), some_name(rng, files)
    if "manifest.json" not in (one, other):
        files[one] = files[other]
        rehash(files)


NAMES = (
    "../outside.bin",
    "/etc/passwd.txt",
    "a/../b.bin",
    "a\\b.bin",
    ".hidden.bin",
    "tensors//w.bin",
    "C:/w.bin",
    "a.bin\n",
    "Manifest.json",
    "golden/0/more.csv",
    "tensors/more.bin",
    "mem/more.hex",
    "rtl/more.sv",
    "extras/free.txt",
    "extras/reader.py",
    "reader2.py",
    "x" * 300 + ".bin",
    "/".join(["d"] * 99) + "/w.bin",
)


def change_names(rng, files):
    name = (
        NAMES[rng.integers(len(NAMES))] if rng.random() < 0.7 else some_name(rng, files)
    )
    kind = rng.integers(4)
    if kind == 0:
        files[name] = rng.bytes(int(rng.integers(9)))
    elif kind == 1:
        other = some_name(rng, files)
        files[name] = files.pop(other)
    elif kind == 2:
        files.pop(some_name(rng, files))
    else:
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = digest(b"")
        files["manifest.json"] = dumped(manifest)
    if rng.random() < 0.6 and "manifest.json" in files:
        rehash(files)


# --- changes of the manifest -------------------------------------------------------

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 32, 33, 255, 256),
    *(4096, 4097, 65534, 65535, 65536, 1 << 20, (1 << 20) + 1, 1 << 24, 1 << 31),
    *(1 << 53, 1 << 63, 1 << 64, 10**30, -(1 << 63), 0.5, 1.0, 12.0, -0.0, 1e308),
    *("", "x", "ramp", "step", "ramp_saturating", "dense", "conv2d", "pixel_lut"),
    *("earliest_spike_pool2d", "ticks", "max_v_at_tie", "lowest_index", "reject"),
    *("max_v_at_end", "first_spike", "1.0.0", "../x.bin", "/etc/passwd", "golden/0"),
    *("manifest.json", "tensors/layer_0_weight.bin", "golden/00", "i8", "i32", "u16"),
    *("f64", [], {}, [1], [[1]], [1, 2, 3], {"a": 1}, "\ud800", "\x1b[31m", "\0", "é"),
    *("a" * 1000, [0] * 2000, {"b": [{}] * 50}),
)


def change_manifest(rng, files):
    manifest = json.loads(files["manifest.json"])
    for _ in range(1 if rng.random() < 0.8 else int(rng.integers(2, 5))):
        change_tree(rng, manifest)
    files["manifest.json"] = dumped(manifest)
    if rng.random() < 0.3:
        rehash(files)


def change_tree(rng, manifest):
    """Change one value, key or item somewhere in the tree."""
    parent, key = manifest, some_key(rng, manifest)
    while isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.85:
        parent = parent[key]
        key = some_key(rng, parent)
    value, kind = parent[key], rng.integers(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(value))
    elif kind == 1:
        parent[str(VALUES[rng.integers(40, 60)])] = copy.deepcopy(value)
    elif kind == 2:
        other = some_key(rng, parent)
        parent[key], parent[other] = parent[other], value
    elif kind in (3, 4) and type(value) is int:
        steps = (1, -1, value, -2 * value, int(rng.integers(-9, 9)))
        parent[key] = value + steps[rng.integers(len(steps))]
    else:
        parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])


def some_key(rng, parent):
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    return keys[rng.integers(len(keys))]


def change_json(rng, files):
    """Change the text of the manifest."""
    text = files["manifest.json"]
    kind = rng.integers(10)
    braces = [at for at, letter in enumerate(text) if letter in b"{["]
    at = braces[rng.integers(len(braces))] + 1
    depth = int(10 ** rng.uniform(1, 5))
    inside = {
        0: b'"format": "ttfs-bundle",',
        1: b'"size": 3, "size": 3,',
        2: b'"extras": {"a": NaN},',
        3: b"[" * depth,
        4: b'{"a":' * depth + b"1" + b"}" * depth + b",",
        5: b'"deep": ' + b"[" * depth + b"]" * depth + b",",
        6: b"9" * depth + b",",
        7: b'"x": 1e999,',
    }
    if kind in inside:
        files["manifest.json"] = text[:at] + inside[kind] + text[at:]
    elif kind == 8:
        codes = ("utf-16", "utf-8-sig", "utf-32")
        files["manifest.json"] = text.decode().encode(codes[rng.integers(3)])
    else:
        change = (flip_bits, resize, edit_lines)[rng.integers(3)]
        files["manifest.json"] = change(rng, text)


def huge(rng, files):
    """State something enormous, or bring much of it."""
    manifest = json.loads(files["manifest.json"])
    size = int(2 ** rng.uniform(10, 70))
    layers, kind = manifest["layers"], rng.integers(9)
    layer = layers[rng.integers(len(layers))]
    if kind == 0:
        manifest["time"]["num_ticks"] = int(2 ** rng.uniform(1, 17))
        for entry in layers:
            entry.update(
                {key: 32 for key in entry if key in ("slope_bits", "potential_bits")}
            )
    elif kind == 1:
        manifest["input"]["shape"] = [size] * int(rng.integers(1, 4))
    elif kind == 2:
        layer["output_shape"] = [size] * int(rng.integers(1, 4))
    elif kind == 3 and "weight" in layer:
        layer["weight"]["shape"] = [size] * int(rng.integers(1, 5))
    elif kind == 4:
        layer.update(padding=min(size, 2048), stride=min(size, 4096))
    elif kind == 5:
        manifest["golden"] *= min(size, 40)
    elif kind == 6:
        manifest["layers"] = layers[:-1] * min(size, 40) + layers[-1:]
    elif kind == 7:
        manifest["extras"] = {"free": "x" * min(size, 1 << 21)}
    else:
        name = some_name(rng, files)
        files[name] += bytes(min(size, 1 << 22))
    files["manifest.json"] = dumped(manifest)
    if rng.random() < 0.5:
        rehash(files)


def digest(content):
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def dumped(manifest):
    return json.dumps(manifest, sort_keys=True, indent=1).encode()


def rehash(files):
    """Make the list of files true again, if there still is one."""
    try:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: digest(content)
            for name, content in files.items()
            if name != "manifest.json"
        }
        files["manifest.json"] = dumped(manifest)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass


CHANGES = {
    change_file: 3,
    lie_in_numbers: 5,
    lie_in_text: 4,
    lie_by_copy: 1,
    change_names: 2,
    change_manifest: 8,
    change_json: 2,
    huge: 1,
}


# --- a directory and a zip ---------------------------------------------------------


def write_directory(rng, files, path):
    """A directory, now and then with things in it that are no files."""
    for name, content in files.items():
        file = path / name
        if name.startswith("/") or ".." in name or "\0" in name or len(name) > 250:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError:
            continue
    if rng.random() < 0.93:
        return
    name = some_name(rng, files)
    file, outside = path / name, path.parent / "outside"
    outside.write_bytes(files[name])
    kind = rng.integers(7)
    if kind == 6:
        deep = path / "/".join(["d" * 20] * int(rng.integers(1, 40)))
        deep.mkdir(parents=True)
        return
    if not file.is_file():
        return
    if kind == 5:
        os.truncate(file, 1 << int(rng.integers(20, 42)))  # sparse
        return
    if kind != 4:
        file.unlink()
    if kind == 0:
        file.symlink_to(outside)
    elif kind == 1:
        os.mkfifo(file)
    elif kind == 2:
        file.mkdir()
    elif kind == 3:
        file.symlink_to(file.parent)
    else:
        folder = path.parent / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        top = path / name.split("/")[0]
        if top.is_dir():
            top.rename(folder)
            top.symlink_to(folder)


def write_zip(rng, files, path):
    """A zip: that of the files, broken, or as another program would write it."""
    kind = rng.integers(14)
    if kind < 6:
        content = zip_bytes(files)
    elif kind < 9:
        content = zip_bytes(files)
        content = (flip_bits, flip_bits, resize)[kind - 6](rng, content)
    elif kind == 9:
        content = break_headers(rng, zip_bytes(files))
    else:
        content = foreign_zip(rng, files)
    path.write_bytes(content)


def break_headers(rng, content):
    """Change one field of one header of the archive."""
    changed = bytearray(content)
    magic, size = ((b"PK\3\4", 30), (b"PK\1\2", 46), (b"PK\5\6", 22))[rng.integers(3)]
    places, at = [], changed.find(magic)
    while at >= 0:
        places.append(at)
        at = changed.find(magic, at + 1)
    at = places[rng.integers(len(places))] + int(rng.integers(4, size - 3))
    values = (
        0,
        1,
        8,
        0x800,
        0xFFFF,
        0xFFFFFFFF,
        0xA1FF0000,
        int(rng.integers(1 << 31)),
    )
    struct.pack_into("<I", changed, at, values[rng.integers(len(values))])
    return bytes(changed)


def foreign_zip(rng, files):
    """The files as another program packs them, or with a trick."""
    archive, kind = io.BytesIO(), rng.integers(12)
    with zipfile.ZipFile(archive, "w") as entries:
        names = sorted(files)
        if kind == 0:
            names = list(rng.permutation(names))
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            if kind == 1:
                entry.compress_type = zipfile.ZIP_DEFLATED
            if kind == 2:
                entry.date_time = (2026, 1, 1, 0, 0, 0)
            if kind == 3:
                entry.external_attr = 0o120777 << 16
            if kind == 4:
                entry.extra = b"\x01\x00\x04\x00abcd"
            if kind == 5:
                entry.comment = b"trust me"
            if kind == 6:
                with entries.open(entry, "w", force_zip64=True) as stream:
                    stream.write(files[name])
            else:
                entries.writestr(entry, files[name])
        if kind == 7:
            entries.comment = b"trust me"
        if kind == 8:
            bomb = zipfile.ZipInfo("extras/bomb.bin")
            bomb.compress_type = zipfile.ZIP_DEFLATED
            entries.writestr(bomb, bytes(1 << 24))
        if kind == 9:
            entries.mkdir("extras") if hasattr(entries, "mkdir") else None
        if kind == 10:
            entries.fp.write(rng.bytes(50))
    content = archive.getvalue()
    return rng.bytes(20) + content if kind == 11 else content


def broken(seed, bases, folder):
    """Write the broken bundle of one seed.

    Returns:
        Number of the base, what was done, path.
    """
    rng = np.random.default_rng([20261122, seed])
    index = int(rng.choice(4, p=[0.4, 0.3, 0.15, 0.15]))
    files = dict(bases.files[index])
    weights = np.array(list(CHANGES.values()), float)
    number = int(rng.choice([0, 1, 2], p=[0.06, 0.8, 0.14]))
    done = []
    for choice in rng.choice(len(CHANGES), number, p=weights / weights.sum()):
        change = list(CHANGES)[choice]
        if "manifest.json" in files and len(files["manifest.json"]) > 1:
            try:
                change(rng, files)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # what an earlier change broke cannot be changed further
            done.append(change.__name__)
    if rng.random() < 0.3:
        path = folder / "broken"
        write_directory(rng, files, path)
        done.append("directory")
    else:
        path = folder / "broken.zip"
        write_zip(rng, files, path)
        done.append("zip")
    return index, "+".join(done), path


# --- running -----------------------------------------------------------------------


class TooLong(BaseException):
    """A case ran into its time limit."""


class Watch:
    """Notes what the process does to files while a bundle is read."""

    def __init__(self, root):
        self.root, self.on, self.seen = str(root), False, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.on:
            return
        if event == "open":
            name, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            inside = not isinstance(name, int) and str(name).startswith(self.root)
            if writes or not inside:
                self.seen.append(f"open {name} {mode}")
        elif event.startswith(("os.", "shutil.", "subprocess.", "socket.", "ctypes.")):
            inside = event == "os.scandir" and str(arguments[0]).startswith(self.root)
            if not inside and event not in ("os.listdir", "os.fspath"):
                self.seen.append(f"{event} {arguments}"[:200])


def snapshot(path):
    """Every name below a path, with what a write would change."""
    places = [path, *path.rglob("*")] if path.is_dir() else [path]
    return [(str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in places]


def plain_harmless(bases, index, bundle):
    """Whether the plain reader read the same network."""
    base = bases.bundles[index]
    rows = [
        layer.weight.reshape(len(layer.weight), -1).tolist()
        for layer in base.network.layers
        if hasattr(layer, "weight")
    ]
    found = [layer["rows"] for layer in bundle["layers"] if "rows" in layer]
    lut = None if base.lut is None else base.lut.tolist()
    rules = (bundle["rules"]["tie"], bundle["rules"]["no_output"])
    if (rows, lut) != (found, bundle["lut"]) or rules != (
        base.decoding.tie,
        base.decoding.no_output,
    ):
        return False
    for ticks, *wanted in zip(
        bases.ticks[index][:2], *bases.spikes[index], strict=False
    ):
        layers = reader.run(bundle, ticks.ravel().tolist())["layers"]
        if [layer["tick"] for layer in layers] != [w.ravel().tolist() for w in wanted]:
            return False
    return True


def main(first, last, plain=False):
    """Read the broken bundles of some seeds; print what became of them."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as name:
        report = sweep(Path(name), range(first, last), plain)
    print(json.dumps(report, indent=1, sort_keys=True))


def peak_bytes():
    """Most memory of this process so far; ru_maxrss would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def sweep(folder, seeds, plain):
    bases = Bases(folder)
    watch = Watch(folder / "broken")

    def stop(*_):
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    used = peak_bytes()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    codes, kinds, failures, slowest = Counter(), Counter(), [], (0.0, -1)
    for seed in seeds:
        index, done, path = broken(seed, bases, folder)
        before = snapshot(path) if seed % 8 == 0 else None
        signal.setitimer(signal.ITIMER_REAL, PLAIN_SECONDS if plain else SECONDS)
        start = time.perf_counter()
        watch.on = True
        try:
            if plain:
                bundle = reader.read_bundle(path)
                reader.check_all(bundle)
            else:
                bundle = read_bundle(path)
            outcome = "harmless"
        except BundleError as error:
            outcome = f"B{error.code.value} {error.code.name}"
            str(error).encode("utf-8", "backslashreplace")
        except TooLong:
            outcome = "failed: too long"
        except Exception as error:
            outcome = (
                f"refused {type(error).__name__}" if plain else f"failed: {error!r}"
            )
        watch.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, (time.perf_counter() - start, seed))
        if outcome == "harmless":
            same = plain_harmless if plain else Bases.harmless
            if not same(bases, index, bundle):
                outcome = "failed: accepted with another meaning"
        if watch.seen:
            outcome = f"failed: {watch.seen[:3]}"
            watch.seen.clear()
        if before is not None and snapshot(path) != before:
            outcome = "failed: the bundle was changed"
        if outcome.startswith("failed"):
            failures.append((seed, done, outcome))
        codes[outcome.split(":")[0]] += 1
        kinds[done] += 1
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {
        "cases": len(seeds),
        "outcomes": codes,
        "failures": failures,
        "slowest": slowest,
        "peak_bytes": peak_bytes(),
        "peak_bytes_before": used,
        "kinds": len(kinds),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "plain" in sys.argv[3:])
