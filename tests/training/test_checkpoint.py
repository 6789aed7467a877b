"""A resumed run equals an uninterrupted one, to the last bit."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from snn_temporal_plugins.neurons import ReLPSPLinear
from snn_temporal_plugins.training import DeadNeuronRevival, TemporalClassifier

# resuming beside the checkpoint, as the tests do, is what Lightning warns of
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")


def checkpoints(folder, **settings):
    return ModelCheckpoint(folder, filename="{epoch}-{step}", save_top_k=-1, **settings)


def run(make_trainer, model, data, callbacks, *, ckpt_path=None):
    trainer = make_trainer(max_epochs=4, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model


def equal_weights(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "epoch=1-step=10.ckpt"),
        ({"save_on_train_epoch_end": False}, "epoch=1-step=10.ckpt"),
        ({"every_n_train_steps": 1}, "epoch=1-step=8.ckpt"),
        ({"every_n_train_steps": 1}, "epoch=2-step=11.ckpt"),
    ],
    ids=["epoch end", "after validation", "inside an epoch", "after one step"],
)
def test_resumed_run_has_the_same_weights(
    settings, name, classifier, corners, make_trainer, tmp_path
):
    def callbacks():
        return [checkpoints(tmp_path, **settings), DeadNeuronRevival()]

    model = classifier(learn_threshold=True)
    whole = run(make_trainer, model, corners(), callbacks())
    saved = tmp_path / name
    torch.manual_seed(12345)  # the process that resumes has another random state
    fresh = TemporalClassifier("16-12-4", dropout=0.3, lr=0.01, learn_threshold=True)
    assert not equal_weights(fresh, whole)
    resumed = run(make_trainer, fresh, corners(), callbacks(), ckpt_path=saved)
    assert equal_weights(resumed, whole)


def test_dropout_and_order_matter_to_the_test_above(classifier, corners, make_trainer):
    def trained(model_settings, data_settings):
        model = classifier(**model_settings)
        make_trainer(max_epochs=1).fit(model, datamodule=corners(**data_settings))
        return model

    plain = trained({}, {})
    assert equal_weights(plain, trained({}, {}))
    assert not equal_weights(plain, trained({}, {"seed": 4}))
    assert not equal_weights(plain, trained({}, {"shift": 0}))
    assert not equal_weights(plain, trained({"dropout": 0.0}, {}))


def test_dropout_follows_the_seed(corners, make_trainer):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = TemporalClassifier("16-12-4", dropout=0.5)
        model._seed = seed
        make_trainer().fit(model, datamodule=corners())
        weights.append(model.network[0].weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_longer_run_is_no_resumed_run(classifier, corners, make_trainer, tmp_path):
    run(make_trainer, classifier(), corners(), [checkpoints(tmp_path)])
    longer = make_trainer(
        max_epochs=9, callbacks=[checkpoints(tmp_path)], enable_checkpointing=True
    )
    with pytest.raises(ValueError, match=r"ends after 20 steps, this run after 45"):
        longer.fit(
            classifier(),
            datamodule=corners(),
            ckpt_path=tmp_path / "epoch=1-step=10.ckpt",
        )


def save(make_trainer, model, data, path):
    trainer = make_trainer()
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(path)


def test_load_from_checkpoint_needs_no_pickle(
    classifier, corners, make_trainer, tmp_path
):
    model = classifier(alpha=12.0)
    save(make_trainer, model, corners(), tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert all(
        value is None or isinstance(value, str | int | float | bool)
        for value in content["hyper_parameters"].values()
    )
    loaded = TemporalClassifier.load_from_checkpoint(
        tmp_path / "x.ckpt", weights_only=True
    )
    assert loaded.hparams["alpha"] == 12.0
    assert equal_weights(model, loaded)


def test_a_module_of_ones_own_is_given_again(corners, make_trainer, tmp_path):
    network = nn.Sequential(ReLPSPLinear(16, 4, t_max=2.0, weight_mean=0.3))
    model = TemporalClassifier(network, alpha=12.0)
    save(make_trainer, model, corners(), tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert "network" not in content["hyper_parameters"]
    again = nn.Sequential(ReLPSPLinear(16, 4, t_max=2.0))
    loaded = TemporalClassifier.load_from_checkpoint(tmp_path / "x.ckpt", network=again)
    assert loaded.hparams["alpha"] == 12.0
    assert equal_weights(model, loaded)
