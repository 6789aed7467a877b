import pytest
import torch

from snn_temporal_plugins.training import Digits


def test_digits_come_without_a_download():
    data = Digits(batch_size=64)
    data.setup("fit")
    x, label = next(iter(data.train_dataloader()))
    assert x.shape == (64, 64)
    assert x.min() == 0
    assert x.max() == 1
    assert label.dtype == torch.int64
    assert len(data.splits.train.label) == 1437
    assert len(data.splits.test.label) == 360
    assert data.val_dataloader() == []


def test_digits_as_images():
    data = Digits(flat=False, shift=1)
    assert next(iter(data.train_dataloader()))[0].shape[1:] == (1, 8, 8)


def rows(split):
    return {tuple(x.flatten().tolist()) for x in split.x}


def test_validation_is_held_out_of_training_by_seed_and_never_of_test():
    plain, first, again, other = (
        Digits(validation=n, seed=s).splits
        for n, s in ((0, 1), (100, 1), (100, 1), (100, 2))
    )
    assert torch.equal(first.validation.x, again.validation.x)
    assert not torch.equal(first.validation.x, other.validation.x)
    for splits in (first, other):
        assert torch.equal(splits.test.x, plain.test.x)
        assert len(splits.train.label) == 1337
        assert rows(splits.train) | rows(splits.validation) == rows(plain.train)
        assert not rows(splits.train) & rows(splits.validation)


def test_predict_and_test_see_the_same_samples_in_order():
    data = Digits(batch_size=360)
    for loader in (data.test_dataloader(), data.predict_dataloader()):
        ((_, label),) = loader
        assert torch.equal(label, data.splits.test.label)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, allowed is 1 or more"),
        ({"seed": -1}, "seed is -1, allowed is 0 or more"),
        ({"shift": 8}, "shift is 8, allowed is 0 to 7"),
        ({"shift": -1}, "shift is -1"),
        ({"validation": -5}, "validation is -5"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Digits(**settings)


def test_holding_out_everything_is_refused():
    with pytest.raises(ValueError, match="validation is 1437, allowed is 0 to 1436"):
        Digits(validation=1437).setup("fit")
