"""The Lightning module for spike counts: recurrent networks that learn by ST-RSBP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional import (
    exponential_weight_penalty,
    rate_encode,
    spike_count_class,
    spike_count_loss,
)
from snn_temporal_plugins.functional.lif import require_spikes
from snn_temporal_plugins.neurons import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    build_network,
)
from snn_temporal_plugins.training.classifier import (
    Answer,
    Classifier,
    first,
    optimiser_limits,
    require_limits,
    require_rule,
)


class CountPrediction(NamedTuple):
    """What the network answered.

    Attributes:
        predicted_class: Class whose neuron fired most often, int64 `(batch,)`; -1 where
            no output fired.
        spike_count: How often it fired, `(batch,)`.
    """

    predicted_class: Tensor
    spike_count: Tensor


class SpikeCountClassifier(Classifier):
    """Train a network of spike trains on batches `(x, label)` by ST-RSBP.

    The neuron that fires most often wins; of several the one with the lowest index. An
    image is shown as random spike trains, drawn anew in every training step and always
    the same in validation; or x holds events. The label is to fire 35 times in the
    window, the others 5 times, and 5 spikes more or less are no error.

    The authors take one Adam step after every sample, at a rate of lr0 / sqrt(epoch).
    Here a step is that of a batch, with the mean of its gradients and a one-cycle
    schedule: per-sample steps of Adam are all about lr long, whatever the error, so the
    rate grows with the root of the batch size.

    The network is an architecture string, or a module of your own that maps spikes
    `(time, batch, ...)` to spikes `(time, batch, classes)`, alone or as the first of a
    tuple. Where it is an `nn.Sequential` that ends in a `SpikeTrainLinear`, that layer
    is told the label in training. A module is no hyper-parameter: give it again to
    `load_from_checkpoint`.

    Args:
        network: Architecture such as `784-400-R400-10`, or a module of your own.
        rule: Name of the learning rule; only for an architecture string, like all up to
            `rule_options`.
        v_th: Thresholds, one for each layer, pools too, or one for all; None: 20, 2 for
            pools, and 15 for the last layer.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0; NIR holds networks
            with 0 only.
        grid: Sides of the grid of a reservoir; None: recurrent layers are all-to-all.
        weight_bound: Initial weights are uniform in +-weight_bound.
        rule_options: Further options of the rule, such as `side`.
        num_steps: Steps for which an image is shown. None: x holds events
            `(batch, time, ...)`, 0 or 1.
        max_rate: Spikes per step at full intensity.
        desired_count: Goal of the label's neuron, in spikes per window.
        undesired_count: Goal of the others.
        margin: Distance from the goal that is no error.
        weight_penalty: Factor of `exponential_weight_penalty`.
        steepness: Its steepness.
        lr: Learning rate; with `warmup` the highest one.
        weight_decay: Weight decay of AdamW; 0 makes it Adam.
        warmup: None: the learning rate is constant. A number: one-cycle schedule, and
            this share of the steps for the rise.

    Reference:
        Zhang and Li, NeurIPS 2019; recipe of the released code but for the batches.
    """

    def __init__(
        self,
        network: str | nn.Module,
        *,
        rule: str = "st_rsbp",
        v_th: float | Sequence[float] | None = None,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        refractory: int = 2,
        grid: tuple[int, int, int] | None = None,
        weight_bound: float = 1.0,
        rule_options: dict[str, Any] | None = None,
        num_steps: int | None = 400,
        max_rate: float = 1 / 5.5,
        desired_count: int = 35,
        undesired_count: int = 5,
        margin: float = 5.0,
        weight_penalty: float = 0.0,
        steepness: float = 0.04,
        lr: float = 5e-3,
        weight_decay: float = 0.0,
        warmup: float | None = 0.1,
    ) -> None:
        super().__init__()
        own_module = isinstance(network, nn.Module)
        self.save_hyperparameters(ignore=["network"] if own_module else [])
        _check(self.hparams)
        if isinstance(network, str):
            require_rule(rule, "SpikeCountClassifier")
            network = build_network(
                network,
                rule=rule,
                v_th=v_th,
                tau_mem=tau_mem,
                tau_syn=tau_syn,
                refractory=refractory,
                grid=grid,
                weight_bound=weight_bound,
                desired_count=desired_count,
                rule_options=rule_options,
            )
        self.hold(network)
        self._label: Tensor | None = None  # of the training step that is going on

    def forward(self, x: Tensor) -> Tensor:
        """Return the output spikes.

        Args:
            x: Images in [0, 1] `(batch, ...)`, or events `(batch, time, ...)` where
                `num_steps` is None.

        Returns:
            Spikes, shape `(time, batch, classes)`.

        Raises:
            ValueError: If the network's output has another shape, or holds other values
                than 0 and 1.
        """
        self.forget()
        network, label = self.network, self._label
        last = network[-1] if isinstance(network, nn.Sequential) else None
        with ExitStack() as hooks:
            if label is not None and isinstance(last, SpikeTrainLinear):
                # by a hook, so that whoever looks at the network finds it called
                tell = last.register_forward_pre_hook(lambda _, x: (*x, label))
                hooks.enter_context(tell)
            out = first(network(self.network_input(x)))
        if out.dim() != 3 or out.shape[1] != len(x):
            raise ValueError(
                f"the network gave an output of shape {tuple(out.shape)}, expected "
                f"(time, {len(x)}, classes)"
            )
        require_spikes(out, "the network's output")
        return out

    def network_input(self, x: Tensor) -> Tensor:
        """Return x as the network takes it: spikes with time first."""
        if self.hparams["num_steps"] is None:
            return x.transpose(0, 1)
        generator = None
        if not self.training:  # the same trains whenever an image comes at this place
            generator = torch.Generator(x.device).manual_seed(0)
        return rate_encode(
            x,
            self.hparams["num_steps"],
            max_rate=self.hparams["max_rate"],
            generator=generator,
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch, with the penalty on weights."""
        self._label = batch[1]
        try:
            loss = super().training_step(batch, batch_idx)
        finally:
            self._label = None
        strength = self.hparams["weight_penalty"]
        if strength:
            penalty = exponential_weight_penalty(
                _weights(self.network), steepness=self.hparams["steepness"]
            )
            loss = loss + strength * penalty
        return loss

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the loss of the output spike counts.

        Args:
            output: Output spikes, shape `(time, batch, classes)`.
            label: Class indices, shape `(batch,)`.

        Returns:
            The loss, a scalar.
        """
        return spike_count_loss(
            output,
            label,
            desired_count=self.hparams["desired_count"],
            undesired_count=self.hparams["undesired_count"],
            margin=self.hparams["margin"],
        )

    def answer(self, output: Tensor) -> Answer:
        """Return the class whose neuron fired most often.

        Args:
            output: Output spikes, shape `(time, batch, classes)`.
        """
        count = output.sum(0)
        most = count.amax(1)
        tied = (count == most[:, None]).sum(1) > 1
        return Answer(spike_count_class(output), most == 0, tied & (most > 0))

    def predict_step(
        self, batch: Tensor | tuple[Tensor, Tensor], batch_idx: int
    ) -> CountPrediction:
        """Return class and spike count of each sample."""
        spikes = self(batch if isinstance(batch, Tensor) else batch[0])
        return CountPrediction(spike_count_class(spikes), spikes.sum(0).amax(1))


def _weights(network: nn.Module) -> list[list[Tensor]]:
    """Input and recurrent weights of every layer that learns by ST-RSBP."""
    kinds = SpikeTrainLinear, SpikeTrainConv2d, RecurrentLIF
    return [list(m.parameters()) for m in network.modules() if isinstance(m, kinds)]


def _check(hparams: Any) -> None:
    steps = hparams["num_steps"]
    require_limits(
        hparams,
        {
            "num_steps": (steps is None or steps >= 2, "2 or more, or null for events"),
            "desired_count": (hparams["desired_count"] >= 1, "1 or more"),
            "undesired_count": (
                0 <= hparams["undesired_count"] <= hparams["desired_count"],
                "0 to desired_count",
            ),
            "weight_penalty": (
                0 <= hparams["weight_penalty"] < math.inf,
                "0 or more",
            ),
            **optimiser_limits(hparams, constant_rate=True),
        },
    )
