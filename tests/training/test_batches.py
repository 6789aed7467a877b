import numpy as np
import pytest
import torch

from snn_temporal_plugins.training.batches import (
    TensorBatches,
    mixed_seed,
    shift_images,
)


def batches(count=10, batch_size=4, **settings):
    """Sample i is the image 2x3 that is i everywhere; its label is i."""
    x = torch.arange(count, dtype=torch.uint8)[:, None, None].expand(count, 2, 3)
    return TensorBatches(
        x.contiguous(),
        torch.arange(count),
        batch_size,
        sample_shape=(6,),
        full_scale=1.0,
        **settings,
    )


def labels(loader):
    return [label.tolist() for _, label in loader]


def samples(loader):
    return [sample for batch in labels(loader) for sample in batch]


def test_every_sample_once_with_its_label_and_in_the_stated_shape():
    loader = batches(shuffle=True)
    seen = list(loader)
    assert [len(label) for _, label in seen] == [4, 4, 2]
    assert len(loader) == 3
    for x, label in seen:
        assert x.shape == (len(label), 6)
        assert x.dtype == torch.float32
        assert torch.equal(x, label[:, None].float().expand(-1, 6))
    assert sorted(samples(loader)) == list(range(10))


def test_white_is_exactly_one():
    x = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    loader = TensorBatches(x, torch.zeros(1).long(), 1, sample_shape=(1, 1, 2))
    assert next(iter(loader))[0].tolist() == [[[[0.0, 1.0]]]]


def test_floating_point_samples_pass_unchanged():
    x = torch.rand(5, 4)
    loader = TensorBatches(x, torch.arange(5), 5, sample_shape=(4,))
    assert torch.equal(next(iter(loader))[0], x)


def test_without_shuffling_the_order_is_that_of_the_data():
    assert samples(batches()) == list(range(10))


def test_the_order_depends_on_seed_and_epoch_alone():
    first, second, other = (batches(40, shuffle=True, seed=seed) for seed in (5, 5, 6))
    torch.manual_seed(1)
    epoch_0 = labels(first)
    torch.manual_seed(2)
    assert labels(second) == epoch_0
    assert labels(other) != epoch_0
    first.set_epoch(1)
    second.set_epoch(1)
    epoch_1 = labels(first)
    assert epoch_1 != epoch_0
    assert labels(second) == epoch_1


def test_ranks_share_the_shuffled_samples_and_fill_up_from_the_head():
    ranks = [batches(shuffle=True, rank=rank, world_size=3) for rank in range(3)]
    shares = [samples(loader) for loader in ranks]
    assert [len(share) for share in shares] == [4, 4, 4]
    order = [sample for turn in zip(*shares, strict=True) for sample in turn]
    assert sorted(order[:10]) == list(range(10))
    assert order[10:] == order[:2]
    assert {len(loader) for loader in ranks} == {1}


def test_more_ranks_than_samples_still_give_each_rank_a_batch():
    for rank in range(5):
        assert len(labels(batches(2, shuffle=True, rank=rank, world_size=5))) == 1


def test_when_measuring_each_sample_is_seen_by_one_rank():
    shares = [samples(batches(rank=r, world_size=3)) for r in range(3)]
    assert sorted(sample for share in shares for sample in share) == list(range(10))
    assert [len(share) for share in shares] == [4, 3, 3]


@pytest.mark.parametrize("given_out", [1, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_a_saved_position_goes_on_where_it_was(given_out, flip):
    loader = batches(shuffle=True, shift=1, flip=flip)
    loader.set_epoch(4)
    whole = list(loader)
    partial = iter(loader)
    for _ in range(given_out):
        next(partial)
    resumed = batches(shuffle=True, shift=1, flip=flip)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(4)
    rest = list(resumed)
    assert len(rest) == len(whole) - given_out
    for (x, label), (x_whole, label_whole) in zip(rest, whole[given_out:], strict=True):
        assert torch.equal(x, x_whole)
        assert torch.equal(label, label_whole)
    assert len(list(resumed)) == len(whole), "the next pass starts from the front"


def test_a_saved_position_of_another_epoch_starts_from_the_front():
    loader = batches(shuffle=True)
    list(loader)
    resumed = batches(shuffle=True)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(1)
    assert len(list(resumed)) == 3


def test_shift_moves_each_image_by_its_own_offset_and_fills_with_zero():
    images = torch.randint(1, 255, (6, 5, 4), dtype=torch.uint8)
    offset = torch.tensor([[0, 0], [2, -1], [-2, 2], [1, 1], [-1, 0], [0, 2]])
    moved = shift_images(images, offset)
    for image, (down, right), result in zip(images, offset, moved, strict=True):
        expected = torch.zeros_like(image)
        for y in range(5):
            for x in range(4):
                if 0 <= y + down < 5 and 0 <= x + right < 4:
                    expected[y + down, x + right] = image[y, x]
        assert torch.equal(result, expected)


def test_channels_of_an_image_move_together():
    images = torch.randint(1, 255, (5, 3, 4, 6), dtype=torch.uint8)
    offset = torch.tensor([[0, 0], [2, -1], [-2, 2], [1, 1], [0, 2]])
    moved = shift_images(images, offset)
    assert moved.shape == images.shape
    for channel in range(3):
        expected = shift_images(images[:, channel], offset)
        assert torch.equal(moved[:, channel], expected)


def test_flips_are_a_function_of_seed_and_epoch_and_leave_the_order_alone():
    def epoch(number, **settings):
        images = torch.arange(40 * 6).view(40, 1, 2, 3).float()
        loader = TensorBatches(
            images,
            torch.arange(40),
            7,
            sample_shape=(1, 2, 3),
            shuffle=True,
            **settings,
        )
        loader.set_epoch(number)
        x, label = (torch.cat(part) for part in zip(*loader, strict=True))
        return images[label], x, label

    plain, x, label = epoch(3, flip=True, seed=1)
    assert torch.equal(label, epoch(3, seed=1)[2])
    mirrored = (x != plain).flatten(1).any(1)
    assert 8 < int(mirrored.sum()) < 32
    assert torch.equal(x[mirrored], plain[mirrored].flip(-1))
    assert torch.equal(x, epoch(3, flip=True, seed=1)[1])
    assert not torch.equal(x, epoch(4, flip=True, seed=1)[1])
    moved = epoch(3, flip=True, seed=1, shift=1)
    still = epoch(3, seed=1, shift=1)[1]
    assert torch.equal(moved[2], label)
    assert torch.equal(moved[1][~mirrored], still[~mirrored])
    assert torch.equal(moved[1][mirrored], still[mirrored].flip(-1))


def test_shifts_are_of_one_pixel_at_most_and_all_of_them_occur():
    dots = torch.zeros(300, 5, 5, dtype=torch.uint8)
    dots[:, 2, 2] = 1
    loader = TensorBatches(
        dots,
        torch.zeros(300).long(),
        300,
        sample_shape=(1, 5, 5),
        full_scale=1.0,
        shift=1,
    )
    (x, _), *_ = loader
    assert x.sum() == 300
    places = x[:, 0].nonzero()[:, 1:].unique(dim=0)
    assert len(places) == 9
    assert ((places - 2).abs() <= 1).all()


def test_mixed_seeds_of_neighbours_differ():
    seeds = {mixed_seed(0, epoch, step, 0) for epoch in range(9) for step in range(9)}
    assert len(seeds) == 81
    assert mixed_seed(1, 2) == mixed_seed(1, 2) != mixed_seed(2, 1)


def test_packed_samples_are_unpacked_batch_by_batch():
    bits = torch.randint(0, 2, (10, 3, 5), dtype=torch.uint8)
    packed = torch.from_numpy(np.packbits(bits.flatten(1).numpy(), axis=1))
    assert packed.shape == (10, 2)
    loader = TensorBatches(
        packed,
        torch.arange(10),
        4,
        sample_shape=(3, 5),
        full_scale=1.0,
        packed=True,
        shuffle=True,
    )
    for x, label in loader:
        assert torch.equal(x, bits[label].float())
