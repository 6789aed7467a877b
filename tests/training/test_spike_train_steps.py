"""The optimiser's side of `SpikeTrainClassifier`, and resuming to the last bit."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.training import SpikeTrainClassifier

# resuming beside the checkpoint, as a test does, is what Lightning warns of
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")


def make(network="16-12-4", **settings):
    L.seed_everything(7, verbose=False)
    return SpikeTrainClassifier(network, **{"lr": 0.01, **settings})


class Watched(SpikeTrainClassifier):
    """Keeps the learning rate, and the gradient and weights of each step."""

    def on_fit_start(self):
        self.rates, self.norms, self.largest = [], [], []

    def on_before_zero_grad(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        if grads:
            self.norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.largest.append(
            max(float(p.detach().abs().max()) for p in self.parameters())
        )


def watched(make_trainer, corners, trainer=None, **settings):
    L.seed_everything(7, verbose=False)
    model = Watched("16-12-4", **{"lr": 0.01, **settings})
    make_trainer(max_epochs=4, **(trainer or {})).fit(model, datamodule=corners())
    return model


@pytest.mark.parametrize(
    ("trainer", "max_norm", "limit"),
    [
        ({}, 0.05, 0.05),
        ({}, None, math.inf),
        ({"gradient_clip_val": 0.02}, 0.05, 0.02),
        ({"gradient_clip_val": 0}, 0.05, math.inf),
    ],
)
def test_the_gradient_is_clipped(trainer, max_norm, limit, corners, make_trainer):
    model = watched(make_trainer, corners, trainer, max_norm=max_norm)
    assert min(0.2, 0.999 * limit) < max(model.norms) <= 1.0001 * limit


@pytest.mark.parametrize("max_weight", [0.3, None])
def test_weights_are_kept_within_bounds(max_weight, corners, make_trainer):
    model = watched(make_trainer, corners, max_weight=max_weight)
    limit = math.inf if max_weight is None else max_weight * 1.000001
    assert 0.299 < max(model.largest) <= limit


def test_the_learning_rate_is_constant_or_rises_and_falls(corners, make_trainer):
    assert set(watched(make_trainer, corners).rates) == {0.01}
    rates = watched(make_trainer, corners, warmup=0.1).rates
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) < 4
    assert rates[-1] < 1e-4


def checkpoints(folder, **settings):
    return ModelCheckpoint(folder, filename="{epoch}-{step}", save_top_k=-1, **settings)


def run(make_trainer, corners, model, folder=None, ckpt_path=None):
    callbacks = [checkpoints(folder, every_n_train_steps=1)] if folder else []
    trainer = make_trainer(
        max_epochs=4, callbacks=callbacks, enable_checkpointing=folder is not None
    )
    trainer.fit(model, datamodule=corners(), ckpt_path=ckpt_path)
    return model


def equal_weights(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("warmup", [None, 0.1])
@pytest.mark.parametrize("name", ["epoch=1-step=8.ckpt", "epoch=1-step=10.ckpt"])
def test_a_killed_run_goes_on_to_the_same_weights(
    name, warmup, corners, make_trainer, tmp_path
):
    settings = {"dropout": 0.3, "max_weight": 0.4, "lr": 0.03, "warmup": warmup}
    whole = run(make_trainer, corners, make(**settings), tmp_path)
    assert float(whole.network[0].weight.detach().abs().max()) > 0.399  # it clamps
    torch.manual_seed(12345)  # the process that resumes has another random state
    fresh = SpikeTrainClassifier("16-12-4", **settings)
    assert not equal_weights(fresh, whole)
    resumed = run(make_trainer, corners, fresh, tmp_path, tmp_path / name)
    assert equal_weights(resumed, whole)


def test_runs_are_repeatable_and_dropout_follows_the_seed(corners, make_trainer):
    one, same = (run(make_trainer, corners, make(dropout=0.3)) for _ in range(2))
    assert equal_weights(one, same)
    other = make(dropout=0.3)
    other._seed += 1
    assert not equal_weights(one, run(make_trainer, corners, other))


def test_a_checkpoint_needs_no_pickle_and_names_its_class(
    corners, make_trainer, tmp_path
):
    options = {"mean": [0.1], "std": (0.5,), "rule_options": {"clip": 5.0}}
    model, trainer = make("1x4x4-12-4", max_norm=None, **options), make_trainer()
    trainer.fit(model, datamodule=corners(flat=False))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["snn_temporal_class"] == "SpikeTrainClassifier"
    loaded = SpikeTrainClassifier.load_from_checkpoint(
        tmp_path / "x.ckpt", weights_only=True
    )
    assert loaded.hparams == model.hparams
    assert loaded.network[1].rule_options == {"clip": 5.0}
    assert equal_weights(model, loaded)


def test_a_module_of_ones_own_is_given_again(corners, make_trainer, tmp_path):
    network, again = (
        nn.Sequential(neurons.LIFLinear(16, 4, num_steps=5)) for _ in range(2)
    )
    model = make(network, loss="softmax")
    trainer = make_trainer()
    trainer.fit(model, datamodule=corners())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert "network" not in content["hyper_parameters"]
    loaded = SpikeTrainClassifier.load_from_checkpoint(
        tmp_path / "x.ckpt", network=again
    )
    assert loaded.hparams["loss"] == "softmax"
    assert equal_weights(model, loaded)
