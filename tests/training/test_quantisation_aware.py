"""Training as integers: what is seen is what is exported, resumed and refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn

from snn_temporal_plugins import cli
from snn_temporal_plugins.export import (
    SILENT,
    Decoding,
    decode,
    emulate,
    encode_pixels,
    latency_lut,
    latency_ticks_lut,
    quantise,
)
from snn_temporal_plugins.functional.rounding import (
    integer_weights,
    largest_weight,
    weight_steps,
)
from snn_temporal_plugins.training import (
    Digits,
    QuantisationAware,
    SpikeTrainClassifier,
    TemporalClassifier,
    TickClassifier,
    quantisation_sweep,
    record_spike_times,
    rounding_errors,
)
from snn_temporal_plugins.training.rounding_accuracy import accuracy

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
CONFIGS = Path(__file__).parents[2] / "examples" / "configs"


def on_times(**settings):
    torch.manual_seed(7)
    settings = {"network": "64-40-10", "dropout": 0.1, "lr": 5e-3, **settings}
    return TemporalClassifier(**settings)


def on_ticks(**settings):
    torch.manual_seed(7)
    settings = {"network": "64-40-10", "lr": 2e-3, **settings}
    options = {"b": 0.02, "normalize": None}
    return TickClassifier(
        num_ticks=64, saturation=0.12, rule_options=options, **settings
    )


KINDS = pytest.mark.parametrize("make", [on_times, on_ticks])


def digits(**settings):
    return Digits(batch_size=64, validation=100, **settings)


def ticks_of(model):
    return 64 if isinstance(model, TickClassifier) else 100


def pixels(data, shape=(64,)):
    return (data.splits.test.x.float() * 255 / 16).round().byte().reshape(-1, *shape)


def emulated(model, bits, image):
    """Emulation of the exported network, and its answers by the classifier's rules."""
    integer = quantise(model.network, bits=bits, num_ticks=ticks_of(model))
    on_ticks = isinstance(model, TickClassifier)
    lut = (latency_ticks_lut if on_ticks else latency_lut)(integer)
    emulation = emulate(integer, encode_pixels(lut, image.numpy()))
    tie = "max_v_at_tie" if on_ticks else "reject"
    decision = decode(integer, emulation, Decoding(tie=tie, no_output="reject"))
    label = np.where(decision.unbroken, -1, decision.label)
    return integer, emulation, torch.from_numpy(label)


@KINDS
@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)], ids=["dense", "conv"])
def test_what_was_trained_is_what_is_exported(make, shape, make_trainer):
    """In the last forward of a fit: integers, ticks of all spikes, and answers."""
    network = "64-40-10" if shape == (64,) else "8x8-6C3-P2-20-10"
    model, data = make(network=network), digits(flat=shape == (64,))
    image = pixels(data, shape)
    seen = {}

    class Look(Callback):
        def on_train_end(self, trainer, pl_module):
            pl_module.eval()
            with record_spike_times(pl_module) as times, torch.no_grad():
                answer = pl_module.answer(pl_module(image.float() / 255))
            seen.update(times, answer=answer.predicted_class)

    callback = QuantisationAware(bits=4, num_ticks=ticks_of(model))
    make_trainer(max_epochs=2, callbacks=[callback, Look()]).fit(model, datamodule=data)
    integer, emulation, label = emulated(model, 4, image)
    layers = [ticks for ticks in emulation.layer_ticks]
    exact = [layers[0], *layers[2:]] if len(layers) > 2 else layers  # without the pool
    for k, ticks in enumerate(exact, start=1):
        got = (seen[f"layer{k}"] / integer.tick).numpy()
        fired = np.isfinite(got)
        np.testing.assert_array_equal(np.where(fired, got.round(), SILENT), ticks)
        assert 0 < fired.mean() <= 1
    assert torch.equal(seen["answer"], label)
    assert (label != -1).float().mean() > 0.1


@KINDS
def test_every_forward_of_training_uses_the_integers_of_its_weights(make, make_trainer):
    model = make()
    first = model.network[0]
    checked = []

    class Check(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            assert first.rounding.bits == 3
            step = weight_steps(first.weight, 3)
            whole = integer_weights(first.weight, step, largest_weight(3))
            exported = quantise(model.network, bits=3, num_ticks=ticks_of(model))
            assert np.array_equal(whole.numpy(), exported.layers[0].weight)
            checked.append(batch_idx)

    callbacks = [QuantisationAware(bits=3, num_ticks=ticks_of(model)), Check()]
    trainer = make_trainer(limit_train_batches=3, callbacks=callbacks)
    trainer.fit(model, datamodule=digits())
    assert checked == [0, 1, 2]
    assert first.rounding is None


def test_fine_tuning_regains_what_two_bits_lose(make_trainer):
    data = digits()
    model = on_times(dropout=0.0)
    make_trainer(max_epochs=8).fit(model, datamodule=data)
    x, label = data.splits.train.x.flatten(1) / 16, data.splits.train.label
    before = rounding_errors(model, x, label, bits=2, num_ticks=64)
    assert before["float"] - before["all"] > 0.03
    weights = [p.clone() for p in model.parameters()]
    callback = QuantisationAware(bits=2, num_ticks=64)
    make_trainer(max_epochs=5, callbacks=[callback]).fit(model, datamodule=data)
    after = rounding_errors(model, x, label, bits=2, num_ticks=64)
    assert after["all"] - before["all"] > 0.02
    assert any(
        not torch.equal(old, new)
        for old, new in zip(weights, model.parameters(), strict=True)
    )


@KINDS
def test_validation_and_test_measure_the_integers(make, make_trainer):
    model, data = make(), digits()
    trainer = make_trainer(
        callbacks=[QuantisationAware(bits=2, num_ticks=ticks_of(model))]
    )
    (means,) = trainer.test(model, datamodule=data, verbose=False)
    x, label = data.splits.test.x.flatten(1) / 16, data.splits.test.label
    errors = rounding_errors(model, x, label, bits=2, num_ticks=ticks_of(model))
    assert means["test_acc"] == pytest.approx(errors["all"], abs=1e-6)
    assert errors["all"] != errors["float"]


def checkpoints(folder):
    return ModelCheckpoint(
        folder, filename="{step}", save_top_k=-1, every_n_train_steps=1
    )


@KINDS
def test_a_resumed_run_has_the_same_weights(make, make_trainer, tmp_path):
    def run(model, ckpt_path=None):
        callbacks = [
            checkpoints(tmp_path),
            QuantisationAware(bits=3, num_ticks=ticks_of(model), start=str(start)),
        ]
        settings = {"enable_checkpointing": True, "limit_train_batches": 4}
        trainer = make_trainer(max_epochs=2, callbacks=callbacks, **settings)
        trainer.fit(model, datamodule=digits(), ckpt_path=ckpt_path)
        return list(model.parameters())

    start = tmp_path / "start.ckpt"
    trained = make()
    trainer = make_trainer(limit_train_batches=4)
    trainer.fit(trained, datamodule=digits())
    trainer.save_checkpoint(start)
    whole = run(make())
    torch.manual_seed(12345)
    aside = start.rename(tmp_path / "aside.ckpt")  # not needed to go on
    again = run(make(), tmp_path / "step=6.ckpt")
    aside.rename(start)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    same = run(make())
    assert all(torch.equal(a, b) for a, b in zip(whole, same, strict=True))
    assert not torch.equal(whole[0], next(trained.parameters()))


def test_training_starts_from_the_weights_of_a_checkpoint(make_trainer, tmp_path):
    start = tmp_path / "start.ckpt"
    trained = on_times()
    trainer = make_trainer(limit_train_batches=2)
    trainer.fit(trained, datamodule=digits())
    trainer.save_checkpoint(start)
    model = on_times(lr=1e-30)
    make_trainer(
        limit_train_batches=1, callbacks=[QuantisationAware(start=str(start))]
    ).fit(model, datamodule=digits())
    assert torch.equal(model.network[0].weight, trained.network[0].weight)


def test_a_failed_run_leaves_a_real_network_behind(make_trainer):
    model = on_times()

    class Stop(Callback):
        def on_train_batch_start(self, *_):
            raise MemoryError("the lights went out")

    trainer = make_trainer(callbacks=[QuantisationAware(), Stop()])
    with pytest.raises(MemoryError):
        trainer.fit(model, datamodule=digits())
    assert model.network[0].rounding is None


@pytest.mark.parametrize(
    ("make", "settings", "error", "message"),
    [
        (
            lambda: SpikeTrainClassifier("64-10"),
            {},
            TypeError,
            "works with TemporalClassifier and TickClassifier, got SpikeTrainC",
        ),
        (on_times, {"bits": 1}, ValueError, "bits is 1; allowed: 2 to 8"),
        (on_ticks, {"num_ticks": 256}, ValueError, "live on 64 ticks"),
        (on_times, {"start": "none.ckpt"}, ValueError, "no checkpoint at none.ckpt"),
        (
            lambda: TemporalClassifier(nn.Linear(64, 10)),
            {},
            ValueError,
            "Linear cannot be rounded",
        ),
    ],
)
def test_refusals(make, settings, error, message, make_trainer):
    trainer = make_trainer(callbacks=[QuantisationAware(**settings)])
    with pytest.raises(error, match=message):
        trainer.fit(make(), datamodule=digits())


def test_weights_of_another_shape_are_refused(make_trainer, tmp_path):
    start = tmp_path / "start.ckpt"
    trainer = make_trainer(limit_train_batches=1)
    trainer.fit(on_times(network="64-10"), datamodule=digits())
    trainer.save_checkpoint(start)
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"no checkpoint")
    for path in (start, broken):
        trainer = make_trainer(callbacks=[QuantisationAware(start=str(path))])
        with pytest.raises(ValueError, match="do not fit TemporalClassifier"):
            trainer.fit(on_times(), datamodule=digits())


def test_the_sources_of_error_of_networks_on_ticks():
    data = digits()
    x, label = data.splits.test.x.flatten(1) / 16, data.splits.test.label
    errors = rounding_errors(on_ticks(), x, label, bits=3)
    assert list(errors) == ["float", "weights", "all"]
    assert errors["weights"] == errors["all"]
    real = rounding_errors(on_times(), x, label, bits=3)
    assert list(real) == ["float", "ticks", "weights", "thresholds", "all"]


def test_a_sweep_is_the_accuracy_of_each_integer_network():
    data = digits()
    image, label = pixels(data), data.splits.test.label
    model = on_times().train()
    table = quantisation_sweep(model, image / 255, label, bits=(2, 5), num_ticks=(100,))
    assert model.training
    for bits, share in table[100].items():
        _, _, predicted = emulated(model, bits, image)
        assert share == (predicted == label).double().mean()
    assert list(quantisation_sweep(on_ticks(), image / 255, label, bits=(4,))) == [64]


def test_a_network_that_cannot_be_rounded_is_a_gap_in_the_sweep():
    model = on_times()
    with torch.no_grad():
        model.network[-1].weight[0] = 1e-4
    x, label = torch.rand(3, 64), torch.zeros(3, dtype=torch.long)
    table = quantisation_sweep(model, x, label, bits=(2,), num_ticks=(16,))
    assert math.isnan(table[16][2])
    assert accuracy(model, x, label) >= 0


def test_the_command_line_fine_tunes_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    config = str(CONFIGS / "digits_stdbp.yaml")
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1"]
    cli.main(["fit", "-c", config, *quiet])
    start = "runs/digits/version_0/checkpoints/last.ckpt"
    settings = ["--trainer.callbacks+=QuantisationAware", "--trainer.callbacks.bits=4"]
    settings += [f"--trainer.callbacks.start={start}", "--name=fine"]
    cli.main(["fit", "-c", config, *quiet, *settings])
    tuned = torch.load("runs/fine/version_0/checkpoints/last.ckpt", weights_only=True)
    before = torch.load(start, weights_only=True)
    assert tuned["state_dict"].keys() == before["state_dict"].keys()
