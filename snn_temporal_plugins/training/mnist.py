"""The data modules of MNIST and Fashion-MNIST, and where their files come from."""

from __future__ import annotations

from snn_temporal_plugins.training.data import ImageData, Split, Splits
from snn_temporal_plugins.training.idx import (
    IdxDataset,
    IdxFile,
    download,
    find_folder,
    read_split,
)


class IdxImages(ImageData):
    """Base of the data modules that read images of 28x28 from four idx files.

    Args:
        root: Folder with the four files (`.gz` or not), or a torchvision root.
        download: Fetch missing files from a public mirror, and check them.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples, of the shifts and flips and of the
            choice of validation samples. It does not follow `seed_everything`.
        shift: Move each training image by up to so many pixels in each direction.
        flip: Mirror each training image with probability 1/2, left to right; for
            clothes, not for digits.
        flat: Give an image as `(784,)`, else as `(1, 28, 28)`.
    """

    side = 28
    dataset: IdxDataset

    def __init__(
        self,
        root: str | None = None,
        download: bool = False,
        batch_size: int = 128,
        validation: int = 0,
        seed: int = 0,
        shift: int = 0,
        flip: bool = False,
        flat: bool = True,
    ) -> None:
        super().__init__(batch_size, validation, seed, shift, flat)
        self.root = root
        self.download = download
        self.flip = flip

    def prepare_data(self) -> None:
        """Fetch what is missing, if that was asked for."""
        if self.download:
            download(self.dataset, self.root)

    def load(self) -> Splits:
        """Find, check and read the four files."""
        folder = find_folder(self.dataset, self.root)
        train, test = (
            Split(*read_split(self.dataset, folder, part)) for part in ("train", "test")
        )
        return Splits(*self.hold_out(train), test)


class MNIST(IdxImages):
    """Handwritten digits: 60000 + 10000 images of 28x28, 10 classes.

    Looked for in `root`, else in the folder named by the environment variable
    `SNN_TEMPORAL_MNIST`, else in the folder of earlier downloads.
    """

    dataset = IdxDataset(
        name="MNIST",
        folder="MNIST",
        variable="SNN_TEMPORAL_MNIST",
        train=(
            IdxFile(
                "train-images-idx3-ubyte",
                md5="6bbc9ace898e44ae57da46a324031adb",
                md5_gz="f68b3c2dcbeaaa9fbdd348bbdeb94873",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                md5="a25bea736e30d166cdddb491f175f624",
                md5_gz="d53e105ee54ea40749a09fcbcd1e9432",
            ),
        ),
        test=(
            IdxFile(
                "t10k-images-idx3-ubyte",
                md5="2646ac647ad5339dbf082846283269ea",
                md5_gz="9fb629c4189551a2d022fa330f9573f3",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                md5="27ae3e4e09519cfbb04c329615203637",
                md5_gz="ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    )


class FashionMNIST(IdxImages):
    """Photographs of clothes: 60000 + 10000 images of 28x28, 10 classes.

    Looked for in `root`, else in the folder named by the environment variable
    `SNN_TEMPORAL_FASHION_MNIST`, else in the folder of earlier downloads, else where
    Debian's package `dataset-fashion-mnist` puts it.

    Reference:
        Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747.
    """

    dataset = IdxDataset(
        name="Fashion-MNIST",
        folder="FashionMNIST",
        variable="SNN_TEMPORAL_FASHION_MNIST",
        train=(
            IdxFile(
                "train-images-idx3-ubyte",
                md5="f4a8712d7a061bf5bd6d2ca38dc4d50a",
                md5_gz="8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                md5="9018921c3c673c538a1fc5bad174d6f9",
                md5_gz="25c81989df183df01b3e8a0aad5dffbe",
            ),
        ),
        test=(
            IdxFile(
                "t10k-images-idx3-ubyte",
                md5="8181f5470baa50b63fa0f6fddb340f0a",
                md5_gz="bef4ecab320f06d8554ea6380940ec79",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                md5="15d484375f8d13e6eb1aabb0c3f46965",
                md5_gz="bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/"
            "data/fashion/",
        ),
        debian_package="dataset-fashion-mnist",
        debian_folder="/usr/share/datasets/fashion-mnist",
    )
