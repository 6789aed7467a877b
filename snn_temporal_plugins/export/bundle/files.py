"""The files of a bundle: from a directory, or from the one zip that holds the same.

Everything after this deals with names and contents alone and does not know which of the
two it was. SPEC.md, section "The zip", fixes every byte of a zip, so all that archives
can hide (other names in other places, encryption, compression, links, comments) makes
one that is not the zip of its files, and is refused.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.errors import BundleCode, BundleError

__all__ = ["load_files", "zip_bytes"]

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE = 0x21  # 1 January 1980, the first that a zip can state


def load_files(path: Path) -> dict[str, bytes]:
    """Content of every file of a bundle, nothing of it checked but names and sizes.

    Args:
        path: a directory, or a zip as `zip_bytes` makes it.

    Returns:
        Names as in the manifest, and contents.

    Raises:
        BundleError: if it is neither, too large, or holds anything but plain files.
    """
    try:
        if path.is_dir():
            return _from_directory(path)
        if path.is_file():
            with path.open("rb") as file:
                return _from_zip(file, path.stat().st_size)
    except OSError as error:
        raise BundleError(
            BundleCode.UNREADABLE,
            f"{path} cannot be read ({error}); check its permissions, or copy it again",
        ) from error
    raise BundleError(
        BundleCode.NOT_A_BUNDLE, f"{path} is no directory and no file; give a bundle"
    )


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """The zip that holds these files: stored, sorted, without a date.

    Args:
        files: names and contents.

    Returns:
        The archive, the same bytes for the same files on every machine.
    """
    content, directory = bytearray(), bytearray()
    for name in sorted(files):
        local, central = _headers(name, files[name], len(content))
        content += local + files[name]
        directory += central
    return bytes(content + directory + _end(len(files), len(directory), len(content)))


def _from_directory(root: Path) -> dict[str, bytes]:
    if not (root / bundle_format.MANIFEST).is_file():
        raise _no_manifest(root)
    sizes = dict(_scan(root))
    if len(sizes) > bundle_format.MAX_FILES:
        raise _too_many()
    _check_size(sum(sizes.values()))
    return {name: _read(root / name, size) for name, size in sizes.items()}


def _scan(root: Path) -> Iterator[tuple[str, int]]:
    """Names and sizes of all files, with an end even where a stranger built it."""
    waiting, count = [""], 0
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = folder + entry.name
                count += 1
                if count > 2 * bundle_format.MAX_FILES:
                    raise _too_many()
                if len(name) > bundle_format.MAX_NAME:
                    bundle_format.check_names([name])
                # a pipe or a device could keep the reader waiting for ever
                if entry.is_file(follow_symlinks=False):
                    yield name, entry.stat().st_size
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                else:
                    raise BundleError(
                        BundleCode.LINK,
                        f"{name!r} is a link, a pipe or a device; allowed: plain files "
                        "and folders",
                    )


def _read(file: Path, size: int) -> bytes:
    """A file, no more of it than was there when it was found."""
    with file.open("rb") as content:
        return content.read(size)


def _from_zip(file: BinaryIO, size: int) -> dict[str, bytes]:
    """Walk from entry to entry; the directory at the end must be the one that follows.

    Nothing is searched, unpacked or looked up by a stated offset: an entry that is not
    where it must be, or not as it must be, ends the walk.
    """
    _check_size(size)
    files: dict[str, bytes] = {}
    directory, position, before = bytearray(), 0, ""
    while True:
        local = file.read(_LOCAL.size)
        if not local.startswith(b"PK\3\4") or len(local) < _LOCAL.size:
            break
        *_, length, name_length, _ = _LOCAL.unpack(local)
        name = file.read(min(name_length, bundle_format.MAX_NAME)).decode("latin-1")
        bundle_format.check_names([name] if name != bundle_format.MANIFEST else [])
        content = file.read(min(length, size))
        wanted, central = _headers(name, content, position)
        if local + name.encode() != wanted or name <= before:
            raise BundleError(
                BundleCode.ZIP,
                f"the entry {name!r} is compressed, encrypted, cut, out of order, or "
                "states a date or other extras; write the zip with write_bundle, or "
                "give the directory",
            )
        files[name], before = content, name
        if len(files) > bundle_format.MAX_FILES:
            raise _too_many()
        directory += central
        position += len(wanted) + len(content)
    if not files:
        raise BundleError(
            BundleCode.NOT_A_BUNDLE,
            "the file does not begin as a zip; give the directory or zip of a bundle",
        )
    if local + file.read() != directory + _end(len(files), len(directory), position):
        raise BundleError(
            BundleCode.ZIP,
            "the directory at the end of the zip is not that of its entries, or "
            "something follows it; write the zip with write_bundle",
        )
    return files


def _headers(name: str, content: bytes, position: int) -> tuple[bytes, bytes]:
    """An entry's local header, and its line in the directory at the end."""
    encoded, size = name.encode("latin-1"), len(content)
    checksum = zlib.crc32(content)
    # version 2.0 made on Unix, no flags, stored, a plain file with the rights 0644
    common = (20, 0, 0, 0, _DATE, checksum, size, size, len(encoded), 0)
    made, rights = 3 << 8 | 20, 0o100644 << 16
    local = _LOCAL.pack(b"PK\3\4", *common)
    central = _CENTRAL.pack(b"PK\1\2", made, *common, 0, 0, 0, rights, position)
    return local + encoded, central + encoded


def _end(count: int, size: int, position: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, size, position, 0)


def _check_size(size: int) -> None:
    if size > bundle_format.MAX_BYTES:
        raise BundleError(
            BundleCode.LIMIT,
            f"the files have {size} bytes together; allowed: {bundle_format.MAX_BYTES}",
        )


def _too_many() -> BundleError:
    return BundleError(
        BundleCode.LIMIT, f"more files than allowed: {bundle_format.MAX_FILES}"
    )


def _no_manifest(root: Path) -> BundleError:
    return BundleError(
        BundleCode.NOT_A_BUNDLE,
        f"{root} holds no {bundle_format.MANIFEST}; give the directory or zip of a "
        "bundle",
    )
