"""Batches cut from whole tensors: shuffled, sharded over ranks, resumable.

One `index_select` per batch and no work per sample, so that the data pipe of a small
network costs a few per cent of its step. Lightning takes any iterable for a loader;
this one states its own shard and its own position, because a stock `DataLoader`
shuffles from the global random state and therefore cannot resume bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad


def mixed_seed(*keys: int) -> int:
    """Mix several integers into one seed of 32 bits.

    Neighbouring epochs, steps and ranks get unrelated random streams, and a stream
    depends on nothing but its keys: this is what makes a resumed run equal to an
    uninterrupted one.

    Args:
        *keys: Non-negative integers, for example seed, epoch, step and rank.

    Returns:
        The seed, an integer below 2**32.
    """
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


def shift_images(images: Tensor, offset: Tensor) -> Tensor:
    """Move each image by its own whole number of pixels; what enters is zero.

    The same as a random crop of the image padded with zeros.

    Args:
        images: Images, shape `(batch, height, width)` or `(batch, channel, height,
            width)`, any dtype.
        offset: Moves down and to the right in pixels, integers of shape `(batch, 2)`.

    Returns:
        The moved images, same shape and dtype as `images`.
    """
    batch, (height, width) = len(images), images.shape[-2:]
    reach = int(offset.abs().max()) if batch else 0
    # In a zero-padded image laid out flat, a shift is one contiguous slice: gathering
    # slices costs a tenth of gathering pixels.
    row = width + 2 * reach
    flat = pad(images, (reach, reach, reach, reach + 1)).flatten(-2)
    start = (reach - offset[:, 0]) * row + (reach - offset[:, 1])
    windows = flat.unfold(-1, height * row, 1).movedim(-2, 1)
    chosen = windows[torch.arange(batch, device=images.device), start]
    return chosen.unflatten(-1, (height, row))[..., :width]


def unpack_bits(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo NumPy's `packbits`: a byte of value 0 or 1 for each bit.

    Args:
        x: Samples, uint8 `(batch, bytes)`; the highest bit of a byte comes first.
        shape: Shape of one unpacked sample; what the last byte has beyond it is left.

    Returns:
        The bits, uint8 `(batch, *shape)`.
    """
    bits = np.unpackbits(x.numpy(), axis=1, count=math.prod(shape))
    return torch.from_numpy(bits).view(len(x), *shape)


class TensorBatches:
    """Iterate over `(x, label)` batches of two tensors that are held in memory.

    The order of an epoch and its augmentation are a function of `(seed, epoch)` alone.
    Lightning tells the epoch through `set_epoch`, and saves the position inside the
    epoch through `state_dict`, so a run also resumes in the middle of an epoch.

    When shuffling, ranks get equally many samples, the list being filled up from its
    head (as `torch.utils.data.DistributedSampler` does), since every rank must take
    part in every gradient step. Otherwise each sample is seen by exactly one rank,
    and a metric summed over ranks is exact.

    Args:
        x: Samples, shape `(samples, ...)`; uint8 is divided by `full_scale`.
        label: Class indices, int64, shape `(samples,)`.
        batch_size: Samples per batch and rank; the last batch may be smaller.
        sample_shape: Shape that one sample is given, for example `(784,)`.
        full_scale: Value that stands for intensity 1 where `x` is uint8.
        packed: Whether `x` holds bits, eight to a byte, `(samples, bytes)`: an eighth
            of the memory for samples of 0 and 1. They are unpacked batch by batch.
        shuffle: Draw a new order in each epoch.
        shift: Move each image by up to so many pixels in each direction, anew in each
            epoch; needs `x` of shape `(samples, ..., height, width)`.
        bands: Where above 0, samples are recordings `(time, channels)`, a multiple of
            so many frequency bands, and `shift` moves them along the bands alone.
        flip: Mirror each image with probability 1/2, left to right, anew in each epoch.
        seed: Start of the random order, of the shifts and flips.
        rank: Which of the `world_size` shards this process reads.
        world_size: Number of processes that share the samples.
    """

    def __init__(
        self,
        x: Tensor,
        label: Tensor,
        batch_size: int,
        *,
        sample_shape: tuple[int, ...],
        full_scale: float = 255.0,
        packed: bool = False,
        shuffle: bool = False,
        shift: int = 0,
        bands: int = 0,
        flip: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.x = x
        self.label = label
        self.batch_size = batch_size
        self.sample_shape = sample_shape
        self.full_scale = full_scale
        self.packed = packed
        self.shuffle = shuffle
        self.shift = shift
        self.bands = bands
        self.flip = flip
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._position = (0, 0)  # epoch and batch that come next
        self._resume_at: tuple[int, int] | None = None

    @property
    def sampler(self) -> TensorBatches:
        """Itself: where Lightning looks for `set_epoch`."""
        return self

    @property
    def batch_sampler(self) -> None:
        """Absent; Lightning asks for it wherever there is a `sampler`."""
        return None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the position: the epoch, and how many batches of it were given out."""
        epoch, batch = self._position
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on from a saved position of the same epoch."""
        self._resume_at = (state["epoch"], state["batch"])

    def __len__(self) -> int:
        return math.ceil(self._samples_per_rank() / self.batch_size)

    def _samples_per_rank(self) -> int:
        if self.shuffle:
            return math.ceil(len(self.x) / self.world_size)
        return len(range(self.rank, len(self.x), self.world_size))

    def _order(self, generator: torch.Generator) -> Tensor:
        count = len(self.x)
        if not self.shuffle:
            return torch.arange(self.rank, count, self.world_size)
        # Modulo instead of a slice of the head: there may be more ranks than samples.
        padded = torch.arange(self._samples_per_rank() * self.world_size) % count
        return torch.randperm(count, generator=generator)[padded][
            self.rank :: self.world_size
        ]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator: nothing below runs before the first batch is asked for, and by
        # then Lightning has told the epoch.
        epoch, start = self.epoch, 0
        if self._resume_at is not None:
            saved_epoch, saved_batch = self._resume_at
            start = saved_batch if saved_epoch == epoch else 0
            self._resume_at = None
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch))
        order = self._order(generator)
        # One offset per sample of the data set, whatever rank reads it.
        count = len(self.x)
        offset = torch.randint(
            -self.shift, self.shift + 1, (count, 2), generator=generator
        )
        mirror = torch.zeros(count, dtype=torch.bool)
        if self.flip:
            mirror = torch.randint(0, 2, (count,), generator=generator).bool()
        for number in range(start, len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            self._position = (epoch, number + 1)
            yield self._batch(chosen, offset, mirror)

    def _batch(
        self, chosen: Tensor, offset: Tensor, mirror: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = self.x.index_select(0, chosen)
        if self.packed:
            x = unpack_bits(x, self.sample_shape)
        if self.shift:
            moves = offset.index_select(0, chosen)
            if self.bands:  # a recording is an image, and stays where it is in time
                x = x.reshape(len(x), -1, self.bands)
                moves = moves * torch.tensor([0, 1])
            x = shift_images(x, moves)
        if self.flip:
            mirrored = mirror.index_select(0, chosen)
            x = torch.where(mirrored.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
        if x.dtype == torch.uint8:
            x = x / self.full_scale
        x = x.reshape(len(chosen), *self.sample_shape)
        return x, self.label.index_select(0, chosen)
