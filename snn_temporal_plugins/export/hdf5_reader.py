"""HDF5 of numbers and words as plain dictionaries; also a program of its own.

HDF5 can link to other files, keep data outside, declare arrays of any size, or call
filters that are loaded at run time. NIR needs none of that, so all of it is refused
before an array is read. What is left are numbers and short words: nothing is pickled
and nothing runs.

Broken bytes can still keep HDF5's C library busy for ever. So `nir_file.py` runs this
file as a process that it can end, `python hdf5_reader.py MAX_BYTES < FILE`; it imports
nothing of this package, which keeps the start short.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import h5py

__all__ = ["REFUSED", "Refusal", "pack", "read_hdf5", "unpack"]

REFUSED = 3
"""Exit status of the program where the bytes are refused."""

_DEEPEST = 8  # groups inside each other; a recurrent layer needs five
_MOST_NAMES = 100_000
_MOST_WORDS = 20_000  # each of them may be as long as the file
_FILTERS = {1: "gzip", 2: "shuffle", 3: "checksum", 32000: "lzf"}


class Refusal(ValueError):
    """Why bytes were refused.

    Attributes:
        code: name of the reason in `NirCode`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_hdf5(data: bytes, max_bytes: int) -> dict[str, Any]:
    """Read HDF5.

    Args:
        data: the bytes of a file.
        max_bytes: most bytes of all that its arrays declare.

    Returns:
        Groups as dictionaries, in order of their names; arrays as NumPy arrays; single
        values as `int`, `float`, `bool` or `str`; arrays of words as lists of rows.

    Raises:
        Refusal: if the bytes are broken, or hold anything else.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _Reader(h5py, max_bytes).group(file, "")
    except Refusal:
        raise
    except Exception as error:  # h5py raises nearly anything on broken bytes
        raise Refusal(
            "NOT_NIR",
            f"the file is no readable HDF5 ({type(error).__name__}: {error}); allowed: "
            "files as nir.write writes them",
        ) from None


class _Reader:
    """Walks through a file and counts what it declares."""

    def __init__(self, h5py: Any, max_bytes: int) -> None:
        self._h5py = h5py
        self._max_bytes = max_bytes
        self._bytes = 0
        self._words = 0
        self._seen: set[int] = set()

    def group(self, group: h5py.Group, place: str) -> dict[str, Any]:
        """All that a group holds."""
        if place.count("/") > _DEEPEST:
            raise Refusal("SIZE", f"{place} is more than {_DEEPEST} groups deep")
        return {name: self._member(group, name, place) for name in sorted(group)}

    def _member(self, group: h5py.Group, name: str, place: str) -> Any:
        if not name.isprintable():
            raise Refusal("TYPE", f"a name in {place or '/'} is {name!a}")
        place = f"{place}/{name}"
        if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
            raise Refusal(
                "LINK", f"{place} is a link to elsewhere; allowed: data in place"
            )
        thing = group[name]
        address = self._h5py.h5o.get_info(thing.id).addr
        if address in self._seen:
            raise Refusal(
                "LINK", f"{place} is held a second time; allowed: data in place"
            )
        self._seen.add(address)
        if len(self._seen) > _MOST_NAMES:
            raise Refusal(
                "SIZE", f"the file holds more than {_MOST_NAMES} names at {place}"
            )
        if isinstance(thing, self._h5py.Group):
            return self.group(thing, place)
        if isinstance(thing, self._h5py.Dataset):
            return self._dataset(thing, place)
        raise Refusal("TYPE", f"{place} is neither a group nor a dataset")

    def _dataset(self, dataset: h5py.Dataset, place: str) -> Any:
        if dataset.external or dataset.is_virtual:
            raise Refusal(
                "LINK", f"{place} keeps its data elsewhere; allowed: in place"
            )
        self._check_filters(dataset, place)
        if dataset.shape is None:
            raise Refusal("TYPE", f"{place} is empty; allowed: numbers or words")
        size = math.prod(dataset.shape)
        chunk = math.prod(dataset.chunks or ())
        self._count(max(size, chunk) * dataset.dtype.itemsize, place)
        if self._h5py.check_string_dtype(dataset.dtype) is not None:
            self._words += size
            if self._words > _MOST_WORDS:
                raise Refusal(
                    "SIZE", f"more than {_MOST_WORDS} words in the file, {place}"
                )
            words = list(self._each_word(dataset, place))
            if not dataset.shape:
                return words[0]
            width = dataset.shape[-1]
            return [words[i : i + width] for i in range(0, size, max(1, width))]
        if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
            raise Refusal(
                "TYPE",
                f"{place} holds {dataset.dtype}; allowed: numbers of at most 64 bits, "
                "and words",
            )
        values = dataset[()]
        return values if isinstance(values, np.ndarray) else values.item()

    def _check_filters(self, dataset: h5py.Dataset, place: str) -> None:
        """Refuse filters that HDF5 would look for among the machine's plugins."""
        filters = dataset.id.get_create_plist()
        for index in range(filters.get_nfilters()):
            code = filters.get_filter(index)[0]
            if code not in _FILTERS:
                raise Refusal(
                    "TYPE",
                    f"{place} is packed by filter {code}; allowed: "
                    f"{', '.join(_FILTERS.values())}",
                )

    def _each_word(self, dataset: h5py.Dataset, place: str) -> Iterator[str]:
        """One by one, since many of them can stand for the same long one."""
        for index in np.ndindex(dataset.shape):
            word = dataset[index]
            self._count(len(word), place)
            yield word.decode("utf-8") if isinstance(word, bytes) else str(word)

    def _count(self, number: int, place: str) -> None:
        self._bytes += number
        if self._bytes > self._max_bytes:
            raise Refusal(
                "SIZE",
                f"{place} brings what the file declares to {self._bytes} bytes; "
                f"allowed: {self._max_bytes}. If it is meant, give a larger max_bytes",
            )


def pack(tree: dict[str, Any]) -> bytes:
    """What `read_hdf5` gives, as bytes: npz, with the rest as JSON in it.

    Args:
        tree: the dictionaries.
    """
    arrays: list[np.ndarray] = []

    def without_arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_arrays(member) for name, member in value.items()}
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return [len(arrays) - 1]  # rows of words are lists of lists
        return value

    words = np.frombuffer(json.dumps(without_arrays(tree)).encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, words, *arrays)
    return file.getvalue()


def unpack(data: bytes) -> dict[str, Any]:
    """The dictionaries that were packed.

    Args:
        data: from `pack`.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = [file[f"arr_{index}"] for index in range(len(file.files))]

    def with_arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: with_arrays(member) for name, member in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], int):
            return arrays[1 + value[0]]
        return value

    return with_arrays(json.loads(arrays[0].tobytes()))


def main() -> None:
    """Read HDF5 from standard input, write it packed to standard output."""
    try:
        tree = read_hdf5(sys.stdin.buffer.read(), int(sys.argv[1]))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal.code} {refusal}")
        raise SystemExit(REFUSED) from None
    sys.stdout.buffer.write(pack(tree))


if __name__ == "__main__":
    main()
