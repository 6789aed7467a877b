"""Images in the idx format: find the four files, check them, read them, fetch them.

The checksum is that of the *uncompressed* content: Debian rewrote the gzip headers of
Fashion-MNIST, so the compressed files of one data set differ from place to place.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

_CURE = "Delete it and get the original file again."


@dataclass(frozen=True)
class IdxFile:
    """One file of a data set.

    Attributes:
        name: Its name without `.gz`.
        md5: Checksum of the uncompressed content.
        md5_gz: Checksum of the `.gz` file on the mirrors.
    """

    name: str
    md5: str
    md5_gz: str

    def inside(self, folder: Path) -> Path | None:
        """Return its path in a folder, uncompressed or not; None if it is not there."""
        for path in (folder / self.name, folder / f"{self.name}.gz"):
            if path.is_file():
                return path
        return None


@dataclass(frozen=True)
class IdxDataset:
    """Where the four files of one data set may lie, and what they must contain.

    Attributes:
        name: Name for messages.
        folder: Name of its folder in torchvision's layout.
        variable: Environment variable that may name its folder.
        train: Images and labels of the training split.
        test: Images and labels of the test split.
        mirrors: Addresses of public folders that serve the `.gz` files.
        debian_package: Debian's package of the data set, if there is one.
        debian_folder: Where that package puts the files.
    """

    name: str
    folder: str
    variable: str
    train: tuple[IdxFile, IdxFile]
    test: tuple[IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    debian_package: str | None = None
    debian_folder: str | None = None

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All four files."""
        return self.train + self.test

    def missing(self, folder: Path) -> list[str]:
        """Return the names of the files that a folder lacks."""
        return [file.name for file in self.files if file.inside(folder) is None]

    def named_folder(self, root: str | None) -> Path | None:
        """Return the folder that the user named, by `root` or by the environment."""
        named = root or os.environ.get(self.variable)
        return Path(named).expanduser() if named else None

    def download_folder(self) -> Path:
        """Return the folder of downloads where the user named none."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser() / "snn-temporal-plugins" / self.folder


def find_folder(dataset: IdxDataset, root: str | None) -> Path:
    """Return the folder that holds the four files of a data set.

    A place that the user named (`root`, else the environment variable) is final;
    otherwise the folder of earlier downloads and Debian's folder are tried.

    Args:
        dataset: The data set.
        root: Folder with the four files (`.gz` or not), or a torchvision root.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If a file is missing; says what to get and where to put it.
    """
    named = dataset.named_folder(root)
    if named is not None:
        places = [named]
    else:
        places = [dataset.download_folder()]
        if dataset.debian_folder is not None:
            places.append(Path(dataset.debian_folder))
    folders = [
        place / inside
        for place in places
        for inside in ("", "raw", f"{dataset.folder}/raw")
    ]
    for folder in folders:
        if not dataset.missing(folder):
            return folder
    fullest = min(folders, key=lambda folder: len(dataset.missing(folder)))
    debian = (
        f" or install Debian's package {dataset.debian_package},"
        if dataset.debian_package
        else ""
    )
    raise FileNotFoundError(
        f"{dataset.name} is not in {' or '.join(map(str, places))}: "
        f"{', '.join(dataset.missing(fullest))} missing (each may end in .gz). "
        f"Put the four files into one folder and name it by --data.root or by the "
        f"environment variable {dataset.variable} (a torchvision root will do),"
        f"{debian} or let --data.download true fetch them."
    )


def read_split(
    dataset: IdxDataset, folder: Path, part: Literal["train", "test"]
) -> tuple[Tensor, Tensor]:
    """Read images and labels of one split.

    Args:
        dataset: The data set.
        folder: Folder that holds its four files.
        part: Which split.

    Returns:
        Images, uint8 `(samples, height, width)`, and labels, int64 `(samples,)`.

    Raises:
        ValueError: If a file is truncated, damaged, altered, or not an idx file.
    """
    images, labels = (
        read_idx(file.inside(folder) or folder / file.name, file.md5)
        for file in (dataset.train if part == "train" else dataset.test)
    )
    return images, labels.long()


def read_idx(path: Path, md5: str | None = None) -> Tensor:
    """Read one idx file of unsigned bytes, compressed or not.

    Args:
        path: The file; compressed if its name ends in `.gz`.
        md5: Checksum that the uncompressed content must have; None skips the check.

    Returns:
        The array, uint8, in the shape that the header states.

    Raises:
        ValueError: If the file is truncated, damaged, altered, or of another format.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is not a whole gzip file ({error}). {_CURE}"
            ) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise ValueError(
            f"{path} is corrupt or altered: its uncompressed content has the md5 "
            f"{found}, expected {md5}. {_CURE}"
        )
    # Two zero bytes, 8 for unsigned bytes, the number of axes, then 4 bytes for each.
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{path} is not an idx file of unsigned bytes: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, expected 00 00 08 and the number "
            f"of axes. {_CURE}"
        )
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    size = torch.Size(shape).numel()
    if len(content) != start + size:
        raise ValueError(
            f"{path} states the shape {shape} and should have {start + size} bytes "
            f"uncompressed, but has {len(content)}. {_CURE}"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].view(shape)


def download(dataset: IdxDataset, root: str | None) -> None:
    """Fetch the files that are missing; each is checked before it takes its place.

    Args:
        dataset: The data set.
        root: Folder to fill; if None, the environment variable's, else a cache folder.

    Raises:
        OSError: If no mirror gives a good file; says what each of them answered.
    """
    try:
        find_folder(dataset, root)
        return
    except FileNotFoundError:
        folder = dataset.named_folder(root) or dataset.download_folder()
    for file in dataset.files:
        if file.inside(folder) is None:
            _fetch(file, folder, dataset.mirrors)


def _fetch(file: IdxFile, folder: Path, mirrors: tuple[str, ...]) -> None:
    import pooch

    answers = []
    for mirror in mirrors:
        address = f"{mirror}{file.name}.gz"
        try:
            pooch.retrieve(
                address,
                known_hash=f"md5:{file.md5_gz}",
                fname=f"{file.name}.gz",
                path=folder,
            )
            return
        # pooch raises ValueError for a wrong checksum; network errors are OSErrors
        except (OSError, ValueError) as error:
            answers.append(f"{address}: {error}")
    raise OSError(
        f"{file.name}.gz could not be downloaded into {folder}. Put it there by hand, "
        f"or try again later. Tried:\n" + "\n".join(answers)
    )
