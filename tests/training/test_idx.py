import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snn_temporal_plugins.training import MNIST, FashionMNIST
from snn_temporal_plugins.training.idx import download, find_folder, read_idx


def idx(array):
    shape = array.shape
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + bytes(array.flatten().tolist())


IMAGES = torch.arange(5 * 28 * 28).remainder(256).to(torch.uint8).view(5, 28, 28)
LABELS = torch.tensor([3, 1, 4, 1, 5], dtype=torch.uint8)


class TinyMNIST(MNIST):
    """MNIST whose files hold five images, so that a test can write them."""

    dataset = replace(
        MNIST.dataset,
        **{
            part: tuple(
                replace(file, md5=hashlib.md5(idx(array)).hexdigest())
                for file, array in zip(
                    getattr(MNIST.dataset, part), (IMAGES, LABELS), strict=True
                )
            )
            for part in ("train", "test")
        },
    )


def write_files(folder: Path, *, compressed: bool):
    folder.mkdir(parents=True, exist_ok=True)
    for file in TinyMNIST.dataset.files:
        content = idx(IMAGES if "images" in file.name else LABELS)
        if compressed:
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file.name).write_bytes(content)


@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("compressed", [True, False])
def test_reads_the_usual_layouts(tmp_path, inside, compressed):
    write_files(tmp_path / inside, compressed=compressed)
    data = TinyMNIST(root=str(tmp_path), batch_size=5)
    data.setup("fit")
    assert torch.equal(data.splits.train.x, IMAGES)
    x, label = next(iter(data.test_dataloader()))
    assert torch.equal(x, IMAGES.view(5, 784) / 255)
    assert label.tolist() == LABELS.tolist()
    assert label.dtype == torch.int64


def test_flips_mirror_training_images_alone_and_keep_their_labels(tmp_path):
    write_files(tmp_path, compressed=False)
    data = TinyMNIST(root=str(tmp_path), batch_size=5, validation=1, flip=True)
    data.setup("fit")
    images = (data.splits.train.x / 255).flatten(1)
    mirrored = (data.splits.train.x / 255).flip(-1).flatten(1)
    labels = data.splits.train.label
    loader = data.train_dataloader()
    seen = []
    for epoch in range(8):
        loader.set_epoch(epoch)
        ((x, label),) = loader
        is_plain = (x[:, None] == images).all(-1)
        is_mirrored = (x[:, None] == mirrored).all(-1)
        which = (is_plain | is_mirrored).int().argmax(1)
        assert (is_plain | is_mirrored).sum(1).tolist() == [1] * 4
        assert torch.equal(label, labels[which])
        seen += is_mirrored.any(1).tolist()
    assert 0 < sum(seen) < len(seen)
    for part in (data.val_dataloader(), data.test_dataloader()):
        assert not part.flip


def test_finds_the_folder_of_the_environment_variable(tmp_path, monkeypatch):
    write_files(tmp_path, compressed=True)
    monkeypatch.setenv("SNN_TEMPORAL_MNIST", str(tmp_path))
    assert find_folder(TinyMNIST.dataset, None) == tmp_path


def test_the_folder_given_goes_before_the_environment_variable(tmp_path, monkeypatch):
    write_files(tmp_path, compressed=True)
    monkeypatch.setenv("SNN_TEMPORAL_MNIST", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        find_folder(TinyMNIST.dataset, str(tmp_path / "elsewhere"))


def test_debians_folder_is_found_without_a_word(tmp_path, monkeypatch):
    monkeypatch.delenv("SNN_TEMPORAL_FASHION_MNIST", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    write_files(tmp_path / "debian", compressed=True)
    dataset = replace(FashionMNIST.dataset, debian_folder=str(tmp_path / "debian"))
    assert find_folder(dataset, None) == tmp_path / "debian"


def test_a_missing_folder_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("SNN_TEMPORAL_FASHION_MNIST", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = replace(FashionMNIST.dataset, debian_folder=str(tmp_path / "debian"))
    with pytest.raises(FileNotFoundError) as error:
        find_folder(dataset, None)
    for word in (
        "train-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        "SNN_TEMPORAL_FASHION_MNIST",
        "--data.root",
        "--data.download true",
        "dataset-fashion-mnist",
        str(tmp_path),
    ):
        assert word in str(error.value)


def test_one_missing_file_is_named_alone(tmp_path):
    write_files(tmp_path, compressed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as error:
        find_folder(TinyMNIST.dataset, str(tmp_path))
    assert "t10k-labels-idx1-ubyte missing" in str(error.value)
    assert "train-images" not in str(error.value)


def test_an_altered_file_is_refused(tmp_path):
    write_files(tmp_path, compressed=True)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx(LABELS.flip(0)))
    )
    with pytest.raises(ValueError, match=r"train-labels.*corrupt or altered.*md5"):
        TinyMNIST(root=str(tmp_path)).setup("fit")


def test_the_real_checksums_refuse_other_files(tmp_path):
    write_files(tmp_path, compressed=True)
    with pytest.raises(ValueError, match="6bbc9ace898e44ae57da46a324031adb"):
        MNIST(root=str(tmp_path)).setup("fit")


def damaged(content):
    yield "cut.gz", gzip.compress(content)[:-9], "not a whole gzip file"
    yield "plain.gz", content, "not a whole gzip file"
    broken = bytearray(gzip.compress(content))
    broken[len(broken) // 2] ^= 255
    yield "broken.gz", bytes(broken), "not a whole gzip file"
    yield "short", content[:-1], r"should have 3936 bytes .* has 3935"
    yield "long", content + b"\x00", r"should have 3936 bytes .* has 3937"
    yield "text", b"hello, world", "not an idx file.*68 65 6c 6c"
    yield "floats", b"\x00\x00\x0d\x01\x00\x00\x00\x00", "not an idx file"
    yield "empty", b"", "begins with nothing"
    yield "header", content[:6], "should have"


@pytest.mark.parametrize(
    ("name", "content", "message"), [*damaged(idx(IMAGES))], ids=lambda v: str(v)[:9]
)
def test_a_damaged_file_says_what_is_wrong_and_what_to_do(
    tmp_path, name, content, message
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "get the original file again" in str(error.value)


def test_an_array_without_samples_is_read(tmp_path):
    (tmp_path / "none").write_bytes(idx(IMAGES[:0]))
    assert read_idx(tmp_path / "none").shape == (0, 28, 28)


def serve(monkeypatch, answers):
    """Let pooch.retrieve answer from a table instead of the network."""
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        answer = answers(url)
        if isinstance(answer, Exception):
            raise answer
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path, fname).write_bytes(answer)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    return asked


def test_download_fetches_what_is_missing_and_asks_for_the_checksum(
    tmp_path, monkeypatch
):
    write_files(tmp_path, compressed=True)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    asked = serve(monkeypatch, lambda url: gzip.compress(idx(IMAGES)))
    data = TinyMNIST(root=str(tmp_path), download=True)
    data.prepare_data()
    data.setup("fit")
    assert [url.rsplit("/", 1)[1] for url, _ in asked] == ["train-images-idx3-ubyte.gz"]
    assert asked[0][1] == "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"
    data.prepare_data()
    assert len(asked) == 1, "nothing is missing any more"


def test_download_takes_the_next_mirror_and_at_last_says_what_each_answered(
    tmp_path, monkeypatch
):
    first, second = MNIST.dataset.mirrors
    good = gzip.compress(idx(IMAGES))
    asked = serve(
        monkeypatch, lambda url: OSError("down") if url.startswith(first) else good
    )
    download(TinyMNIST.dataset, str(tmp_path / "a"))
    assert not TinyMNIST.dataset.missing(tmp_path / "a")
    assert len(asked) == 8
    serve(monkeypatch, lambda url: OSError("down") if first in url else ValueError("?"))
    with pytest.raises(OSError, match="could not be downloaded") as error:
        download(TinyMNIST.dataset, str(tmp_path / "b"))
    assert f"{first}train-images-idx3-ubyte.gz: down" in str(error.value)
    assert f"{second}train-images-idx3-ubyte.gz: ?" in str(error.value)


def test_nothing_is_fetched_unless_asked(tmp_path, monkeypatch):
    asked = serve(monkeypatch, lambda url: b"")
    with pytest.raises(FileNotFoundError):
        data = MNIST(root=str(tmp_path))
        data.prepare_data()
        data.setup("fit")
    assert asked == []


def real(module, folder):
    beside = Path(__file__).parents[3] / "shared" / "data" / folder
    data = module(root=str(beside) if beside.is_dir() else None)
    try:
        data.setup("fit")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return data


@pytest.mark.data
@pytest.mark.parametrize(
    ("module", "folder", "train_counts"),
    [
        (MNIST, "mnist", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        (FashionMNIST, "fashion_mnist", [6000] * 10),
    ],
)
def test_real_files(module, folder, train_counts):
    data = real(module, folder)
    assert data.splits.train.x.shape == (60000, 28, 28)
    assert data.splits.test.x.shape == (10000, 28, 28)
    assert data.splits.train.label.bincount().tolist() == train_counts
