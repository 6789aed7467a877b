"""The Lightning module: a network of first spikes, trained to classify."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional import (
    decision_time,
    first_spike_class,
    first_spike_tied,
    latency_encode,
    times_to_train,
    train_to_times,
    ttfs_cross_entropy,
)
from snn_temporal_plugins.neurons import build_network
from snn_temporal_plugins.training.classifier import (
    Answer,
    Classifier,
    first,
    optimiser_limits,
    require_limits,
    require_rule,
)
from snn_temporal_plugins.training.penalties import silence_penalty, spikes_of


class Prediction(NamedTuple):
    """What the network answered.

    Attributes:
        predicted_class: Index of the earliest output spike, int64 `(batch,)`; -1 where
            no output fired or where the earliest time is tied.
        decision_time: Time of the earliest output spike, `(batch,)`; `inf` if silent.
    """

    predicted_class: Tensor
    decision_time: Tensor


class TemporalClassifier(Classifier):
    """Train a network of first spikes on batches `(x, label)`; the first output wins.

    Brighter is earlier: an intensity x in [0, 1] becomes a spike at t = 1 - x. The loss
    is the cross-entropy of softmax(-alpha t) over the output spike times. AdamW, with a
    one-cycle schedule per step.

    The network is an architecture string, or a module of your own:
    without `num_steps` it maps spike times `(batch, ...)` to spike times
    `(batch, classes)`; with `num_steps` it maps spike trains `(num_steps, batch, ...)`
    to spike trains `(num_steps, batch, classes)`, alone or as the first of a tuple as
    both hosts return them. Modules with a method `reset_mem` are reset when a step
    begins. A module is no hyper-parameter: give it again to `load_from_checkpoint`.

    Args:
        network: Architecture such as `784-400-10`, or a module of your own.
        rule: Name of the learning rule; only for an architecture string, like all up to
            `hidden_weight_scale`.
        v_th: Threshold of the neurons.
        t_max: Horizon: a later spike counts as silent. The input ends at 1.
        slope_clip: Limit of the factor 1/slope in the gradient; None: no limit.
        dropout: Share of hidden spikes that are silenced in training.
        learn_threshold: Train the thresholds too.
        hidden_weight_scale: Factor of the hidden layers' initial weights; a network
            with convolutions learns better with 0.5 and a longer `t_max`.
        alpha: Inverse temperature of the loss, per unit of time.
        t_silent: Time that a silent output counts as in the loss; None: `t_max`.
        silent_zero: Intensity 0 gives no spike at all, else a spike at 1.
        silent_label: Factor of the penalty on label neurons that stay silent.
        dead_neuron: Factor of the penalty on hidden neurons that no sample of a batch
            makes fire. Both penalties act on an `nn.Sequential` of our layers.
        lr: Highest learning rate of the one-cycle schedule.
        weight_decay: Weight decay of AdamW.
        warmup: Share of the steps in which the learning rate rises.
        num_steps: Number of ticks of the spike trains that your own module takes; a
            tick lasts `t_max / num_steps`. None: it takes spike times.
    """

    def __init__(
        self,
        network: str | nn.Module,
        *,
        rule: str = "stdbp",
        v_th: float = 1.0,
        t_max: float = 2.0,
        slope_clip: float | None = 5.0,
        dropout: float = 0.0,
        learn_threshold: bool = False,
        hidden_weight_scale: float = 1.0,
        alpha: float = 20.0,
        t_silent: float | None = None,
        silent_zero: bool = True,
        silent_label: float = 1.0,
        dead_neuron: float = 0.0,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.1,
        num_steps: int | None = None,
    ) -> None:
        super().__init__()
        own_module = isinstance(network, nn.Module)
        self.save_hyperparameters(ignore=["network"] if own_module else [])
        if isinstance(network, str):
            require_rule(rule, "TemporalClassifier")
            network = build_network(
                network,
                rule=rule,
                v_th=v_th,
                t_max=t_max,
                slope_clip=slope_clip,
                dropout=dropout,
                learn_threshold=learn_threshold,
                hidden_weight_scale=hidden_weight_scale,
            )
        _check(self.hparams, own_module)
        self.hold(network)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output spike times.

        Args:
            x: Intensities in [0, 1], shape `(batch, ...)`.

        Returns:
            Spike times, shape `(batch, classes)`, `inf` where silent.

        Raises:
            ValueError: If the network's output has another shape.
        """
        self.forget()
        spike_time = latency_encode(x, silent_zero=self.hparams["silent_zero"])
        num_steps = self.hparams["num_steps"]
        if num_steps is None:
            spike_time = first(self.network(spike_time))
        else:
            dt = self.hparams["t_max"] / num_steps
            spikes = times_to_train(spike_time / dt, num_steps)
            spike_time = train_to_times(first(self.network(spikes))) * dt
        if spike_time.dim() != 2 or len(spike_time) != len(x):
            raise ValueError(
                f"the network gave spike times of shape {tuple(spike_time.shape)}, "
                f"expected ({len(x)}, classes), one spike time per sample and class"
            )
        return spike_time

    def loss(self, spike_time: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy of the output spike times.

        Args:
            spike_time: Output spike times, shape `(batch, classes)`.
            label: Class indices, shape `(batch,)`.

        Returns:
            The loss, a scalar.
        """
        t_silent = self.hparams["t_silent"]
        return ttfs_cross_entropy(
            spike_time,
            label,
            alpha=self.hparams["alpha"],
            t_silent=self.hparams["t_max"] if t_silent is None else t_silent,
        )

    def answer(self, output: Tensor) -> Answer:
        """Return the class of the first output spike.

        Args:
            output: Output spike times, shape `(batch, classes)`.
        """
        return Answer(
            first_spike_class(output),
            torch.isinf(decision_time(output)),
            first_spike_tied(output),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch, with the penalties on silence."""
        with spikes_of(self.network) as seen:
            loss = super().training_step(batch, batch_idx)
        return loss + silence_penalty(
            seen,
            batch[1],
            silent_label=self.hparams["silent_label"],
            dead_neuron=self.hparams["dead_neuron"],
        )

    def predict_step(
        self, batch: Tensor | tuple[Tensor, Tensor], batch_idx: int
    ) -> Prediction:
        """Return class and decision time of each sample."""
        spike_time = self(batch if isinstance(batch, Tensor) else batch[0])
        return Prediction(first_spike_class(spike_time), decision_time(spike_time))


def _check(hparams: Any, own_module: bool) -> None:
    limits = {
        "alpha": (0 < hparams["alpha"] < math.inf, "above 0"),
        "t_max": (0 < hparams["t_max"] < math.inf, "above 0 and finite"),
        **optimiser_limits(hparams, constant_rate=False),
        "silent_label": (hparams["silent_label"] >= 0, "0 or more"),
        "dead_neuron": (hparams["dead_neuron"] >= 0, "0 or more"),
    }
    require_limits(hparams, limits)
    num_steps = hparams["num_steps"]
    if num_steps is None:
        return
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}, allowed is 1 or more, or None")
    if not own_module:
        raise ValueError(
            f"num_steps is {num_steps}, but an architecture string builds layers that "
            f"take spike times: leave num_steps out, or give a module of your own"
        )
