"""The zip of a bundle: one for its files, read without unpacking, no tricks."""

import io
import os
import shutil
import struct
import subprocess
import zipfile

import pytest

from snn_temporal_plugins.export import (
    BundleCode,
    BundleError,
    latency_lut,
    read_bundle,
    write_bundle,
)
from snn_temporal_plugins.export.bundle.files import load_files, zip_bytes
from tests.export.bundle.plain import reader
from tests.export.bundle.test_bundle import assert_same, contents
from tests.export.networks import conv_network, dense_network


@pytest.fixture
def files(tmp_path):
    write_bundle(dense_network(), tmp_path / "net.zip", golden=0)
    return load_files(tmp_path / "net.zip")


def refused(tmp_path, content):
    path = tmp_path / "changed.zip"
    path.write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert contents(tmp_path) == before
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, it must not accept
        reader.check_all(reader.read_bundle(path))
    return caught.value.code


def test_a_zip_and_a_directory_hold_the_same(tmp_path):
    network = conv_network()
    lut = latency_lut(network)
    for name in ("net", "net.zip", "again.zip"):
        write_bundle(network, tmp_path / name, lut=lut)
    assert load_files(tmp_path / "net.zip") == contents(tmp_path / "net")
    one, two = ((tmp_path / name).read_bytes() for name in ("net.zip", "again.zip"))
    assert one == two
    bundle = read_bundle(tmp_path / "net.zip")
    assert_same(bundle.network, network)
    plain = reader.check_all(reader.read_bundle(tmp_path / "net.zip"))
    assert plain == [case.name for case in bundle.golden]
    names = {"net", "net.zip", "again.zip"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_others_can_read_it_and_make_it(tmp_path, files):
    with zipfile.ZipFile(tmp_path / "net.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
        archive.extractall(tmp_path / "net")
    assert contents(tmp_path / "net") == files
    read_bundle(tmp_path / "net")
    assert reader.zipped(files) == zip_bytes(files)
    if shutil.which("unzip"):
        subprocess.run(
            ["unzip", "-t", tmp_path / "net.zip"], check=True, capture_output=True
        )


def test_the_layout_is_that_of_the_specification():
    fixed = "0000 0000 0000 2100"
    empty = "00000000 00000000 00000000 0300 0000"
    checked = "9928e68f 02000000 02000000 0300 0000"
    wanted = [
        f"504b0304 1400 {fixed} {empty} 612e62",
        f"504b0304 1400 {fixed} {checked} 622e63 7879",
        f"504b0102 1403 1400 {fixed} {empty} 0000 0000 0000 0000a481 00000000 612e62",
        f"504b0102 1403 1400 {fixed} {checked} 0000 0000 0000 0000a481 21000000 622e63",
        "504b0506 0000 0000 0200 0200 62000000 44000000 0000",
    ]
    assert zip_bytes({"b.c": b"xy", "a.b": b""}) == bytes.fromhex(" ".join(wanted))


def foreign(**options):
    """The files as another program would pack them."""

    def make(files):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as entries:
            for name in options.get("order", sorted)(files):
                entry = zipfile.ZipInfo(name)
                entry.create_system, entry.external_attr = 3, 0o100644 << 16
                for key, value in options.get("entry", {}).items():
                    setattr(entry, key, value)
                entries.writestr(entry, files[name])
            entries.comment = options.get("comment", b"")
            more = zipfile.ZipInfo(options.get("more", ""))
            if more.filename:
                entries.writestr(more, b"x")
        return archive.getvalue()

    return make


def bomb(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as entries:
        for name, content in files.items():
            entries.writestr(name, content)
        entries.writestr("extras/bomb.bin", bytes(1 << 26))
    return archive.getvalue()


def twice(files):
    """Two entries of one name: readers take the first, or the last."""
    content = foreign(more="extras/a.txt")({**files, "extras/b.txt": b"x"})
    return content.replace(b"extras/b.txt", b"extras/a.txt")


def streamed(files):
    """With sizes behind the content, as a pipe makes it."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = bytearray()

        def writable(self):
            return True

        def write(self, part):
            self.content += part
            return len(part)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as entries:
        for name in sorted(files):
            entries.writestr(name, files[name])
    return bytes(pipe.content)


def overlapping(files):
    """One more line of the directory, for an entry that is there already."""
    content = zip_bytes(files)
    end = content[-22:]
    size, start = struct.unpack("<LL", end[12:20])
    directory = content[start : start + size]
    line = directory[: directory.index(b"PK\1\2", 1)]
    count = struct.pack("<HH", len(files) + 1, len(files) + 1)
    end = end[:8] + count + struct.pack("<LL", size + len(line), start) + end[20:]
    return content[:start] + directory + line + end


def flagged(bit):
    def make(files):
        content = bytearray(zip_bytes(files))
        content[6] |= bit
        at = content.index(b"PK\1\2")
        content[at + 8] |= bit
        return bytes(content)

    return make


def huge(files):
    """An entry that states 4 GiB."""
    content = bytearray(zip_bytes(files))
    content[18:26] = b"\xff" * 8
    return bytes(content)


TRICKS = {
    "no zip": (lambda files: b"PK", BundleCode.NOT_A_BUNDLE),
    "nothing": (lambda files: b"", BundleCode.NOT_A_BUNDLE),
    "an empty zip": (lambda files: zip_bytes({}), BundleCode.NOT_A_BUNDLE),
    "no manifest": (
        lambda files: zip_bytes({"a.txt": b""}),
        BundleCode.NOT_A_BUNDLE,
    ),
    "compressed": (foreign(entry={"compress_type": 8}), BundleCode.ZIP),
    "a bomb": (bomb, BundleCode.ZIP),
    "a date": (foreign(entry={"date_time": (2026, 1, 1, 0, 0, 0)}), BundleCode.ZIP),
    "links": (foreign(entry={"external_attr": 0o120777 << 16}), BundleCode.ZIP),
    "programs": (foreign(entry={"external_attr": 0o100755 << 16}), BundleCode.ZIP),
    "extra fields": (foreign(entry={"extra": b"\1\0\2\0ab"}), BundleCode.ZIP),
    "comments": (foreign(entry={"comment": b"trust me"}), BundleCode.ZIP),
    "a comment": (foreign(comment=b"trust me"), BundleCode.ZIP),
    "another order": (
        foreign(order=lambda files: sorted(files, reverse=True)),
        BundleCode.ZIP,
    ),
    "a folder": (foreign(more="folder/"), BundleCode.PATH),
    "a name outside": (foreign(more="../outside.txt"), BundleCode.PATH),
    "an absolute name": (foreign(more="/etc/passwd.txt"), BundleCode.PATH),
    "a name of DOS": (foreign(more="C:\\x.txt"), BundleCode.PATH),
    "a name that is not ASCII": (foreign(more="é.txt"), BundleCode.PATH),
    "a long name": (foreign(more="x" * 500 + ".txt"), BundleCode.PATH),
    "a name twice": (twice, BundleCode.ZIP),
    "streamed": (streamed, BundleCode.ZIP),
    "overlapping": (overlapping, BundleCode.ZIP),
    "encrypted": (flagged(1), BundleCode.ZIP),
    "a data descriptor": (flagged(8), BundleCode.ZIP),
    "4 GiB": (huge, BundleCode.ZIP),
    "something before": (
        lambda files: b"#!" + zip_bytes(files),
        BundleCode.NOT_A_BUNDLE,
    ),
    "something after": (lambda files: zip_bytes(files) + b"\0", BundleCode.ZIP),
    "two in one": (lambda files: zip_bytes(files) * 2, BundleCode.ZIP),
    "no directory": (
        lambda files: zip_bytes(files)[: zip_bytes(files).index(b"PK\1\2")],
        BundleCode.ZIP,
    ),
    "one byte less": (lambda files: zip_bytes(files)[:-1], BundleCode.ZIP),
    "not listed": (
        lambda files: zip_bytes({**files, "extras/a.txt": b""}),
        BundleCode.UNLISTED,
    ),
    "too many": (
        lambda files: zip_bytes({f"extras/{n}.txt": b"" for n in range(8193)}),
        BundleCode.LIMIT,
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks(tmp_path, files, name):
    make, code = TRICKS[name]
    assert refused(tmp_path, make(files)) is code


def test_every_byte_counts(tmp_path):
    whole = zip_bytes({"a.b": b"xy", "manifest.json": b"{"})
    path = tmp_path / "net.zip"
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(BundleError):
            load_files(path)
    path.write_bytes(whole)
    assert load_files(path) == {"a.b": b"xy", "manifest.json": b"{"}


def test_a_zip_larger_than_allowed(tmp_path, files):
    path = tmp_path / "net.zip"
    os.truncate(path, (1 << 27) + 1)
    with pytest.raises(BundleError, match="allowed: 134217728") as caught:
        read_bundle(path)
    assert caught.value.code is BundleCode.LIMIT


def test_overwriting_replaces_a_bundle_and_nothing_else(tmp_path):
    path = tmp_path / "net.zip"
    write_bundle(dense_network(0), path, golden=0)
    with pytest.raises(BundleError, match="overwrite=True"):
        write_bundle(dense_network(1), path, golden=0)
    write_bundle(dense_network(1), path, golden=0, overwrite=True)
    assert_same(read_bundle(path).network, dense_network(1))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thesis.tex", "dear")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match="no bundle") as caught:
        write_bundle(dense_network(), path, golden=0, overwrite=True)
    assert caught.value.code is BundleCode.EXISTS
    assert contents(tmp_path) == before
