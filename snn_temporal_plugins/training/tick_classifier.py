"""The Lightning module for first spikes on whole ticks: SSTDP."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional import (
    decision_time,
    first_spike_class,
    first_spike_tied,
    first_target,
    latency_ticks,
    mean_target,
    squared_time_loss,
)
from snn_temporal_plugins.neurons import IFConv2d, build_network
from snn_temporal_plugins.training.classifier import (
    Answer,
    Classifier,
    first,
    optimiser_limits,
    require_limits,
    require_rule,
)
from snn_temporal_plugins.training.module import Prediction


class TickOutput(NamedTuple):
    """What the output neurons did.

    Attributes:
        spike_time: In ticks, `(batch, classes)`, `inf` where silent.
        potential: At which each fired, `(batch, classes)`; 0 where it is not known.
    """

    spike_time: Tensor
    potential: Tensor


class TickClassifier(Classifier):
    """Train a network of first spikes on ticks on batches `(x, label)`, by SSTDP.

    Brighter is earlier: an intensity x in [0, 1] becomes a spike at the tick
    t = round((1 - x) (T - 1)). The first output wins; on ticks two are often first, and
    then the one with the larger potential. The rule pulls output times towards targets.
    AdamW, with a one-cycle schedule per step.

    The network is an architecture string, or a module of your own that maps ticks
    `(batch, ...)` to ticks `(batch, classes)`; ties are broken if it is an
    `nn.Sequential` that ends in a layer of integrate-and-fire neurons, else they count
    as no decision. A module is no hyper-parameter: give it again to
    `load_from_checkpoint`.

    Args:
        network: Architecture such as `784-400-10`, or a module of your own.
        rule: Name of the learning rule; only for an architecture string, like all up to
            `rule_options`.
        num_ticks: Number of ticks T; also of the input code and of the targets.
        v_th: Threshold of the neurons.
        dropout: Share of hidden spikes that are silenced in training.
        rule_options: Further settings of the rule, such as `b` or `tau_stdp`.
        target: "mean": the label is to come before the mean of the outputs, the others
            after it, as in the paper, a silent output counting as T. (With the mean
            over those that fired, a label that fires alone is pulled ever earlier.)
            "first": the others are to follow the first spike, as in the released code.
        gap: Distance wanted between the label and the others, as a share of the T
            ticks.
        saturation: Distance from the targets beyond which samples count alike, as a
            share of the T ticks (`squared_time_loss`); None: the squared distance. The
            rule's own normalisation gives all samples the same weight in any case, so
            a saturation goes with `rule_options={"normalize": None}`.
        x_min: Intensities up to this give no spike; below 0: all give one.
        jitter: Standard deviation by which input spikes are moved in training, as a
            share of the T ticks. Those moved behind the last tick are lost.
        lr: Highest learning rate of the one-cycle schedule.
        conv_lr_scale: Factor of the learning rate of convolutions, whose few weights
            are larger.
        weight_decay: Weight decay of AdamW.
        warmup: Share of the steps in which the learning rate rises.

    Reference:
        Liu et al., Front. Neurosci. 15:756876 (2021), SSTDP. Optimiser, schedule and
        jitter are ours; the released code uses SGD at a constant rate.
    """

    def __init__(
        self,
        network: str | nn.Module,
        *,
        rule: str = "sstdp",
        num_ticks: int = 256,
        v_th: float = 1.0,
        dropout: float = 0.0,
        rule_options: dict[str, Any] | None = None,
        target: Literal["mean", "first"] = "mean",
        gap: float = 0.4,
        saturation: float | None = None,
        x_min: float = 0.0,
        jitter: float = 0.0,
        lr: float = 1e-3,
        conv_lr_scale: float = 1.0,
        weight_decay: float = 0.0,
        warmup: float = 0.1,
    ) -> None:
        super().__init__()
        own_module = isinstance(network, nn.Module)
        self.save_hyperparameters(ignore=["network"] if own_module else [])
        _check(self.hparams)
        if isinstance(network, str):
            require_rule(rule, "TickClassifier")
            network = build_network(
                network,
                rule=rule,
                num_ticks=num_ticks,
                v_th=v_th,
                dropout=dropout,
                rule_options=rule_options,
            )
        self.hold(network)

    def forward(self, x: Tensor) -> TickOutput:
        """Return spike times and potentials of the outputs.

        Args:
            x: Intensities in [0, 1], shape `(batch, ...)`.

        Raises:
            ValueError: If the network's output has another shape.
        """
        self.forget()
        spike_time = self._encode(x)
        network = self.network
        last: Any = network[-1] if isinstance(network, nn.Sequential) else None
        if not hasattr(last, "with_potential"):
            post = first(network(spike_time))
            potential = torch.zeros_like(post)
        else:
            entered: list[Tensor] = []
            # by a hook, so that whoever looks at the layers finds all of them called
            with last.register_forward_pre_hook(lambda _, x: entered.append(x[0])):
                post = network(spike_time)
            with torch.no_grad():
                potential = last.with_potential(entered[0])[1]
        if post.dim() != 2 or len(post) != len(x):
            raise ValueError(
                f"the network gave spike times of shape {tuple(post.shape)}, expected "
                f"({len(x)}, classes), one spike time per sample and class"
            )
        return TickOutput(post, potential)

    def _encode(self, x: Tensor) -> Tensor:
        num_ticks, jitter = self.hparams["num_ticks"], self.hparams["jitter"]
        tick = latency_ticks(x, num_ticks, x_min=self.hparams["x_min"])
        if self.training and jitter:
            tick = tick + (jitter * num_ticks * torch.randn_like(tick)).round()
            tick = torch.where(tick < num_ticks, tick.clamp(min=0), math.inf)
        return tick

    def learning_rate(self, module: nn.Module) -> float:
        """Return lr, times `conv_lr_scale` for convolutions."""
        scale = self.hparams["conv_lr_scale"] if isinstance(module, IFConv2d) else 1.0
        return self.hparams["lr"] * scale

    def loss(self, output: TickOutput, label: Tensor) -> Tensor:
        """Return the loss of the output times' distance from their targets.

        Args:
            output: Output spike times and potentials.
            label: Class indices, shape `(batch,)`.

        Returns:
            The loss, a scalar.
        """
        post, t_max = output.spike_time, self.hparams["num_ticks"]
        gap = self.hparams["gap"] * t_max
        if self.hparams["target"] == "mean":
            goal = mean_target(post, label, t_max=t_max, gap=gap, over="all")
        else:
            goal = first_target(post, label, t_max=t_max, gap=gap)
        saturation = self.hparams["saturation"]
        if saturation is not None:
            saturation = saturation * t_max
        return squared_time_loss(post, goal, t_max=t_max, saturation=saturation)

    def answer(self, output: TickOutput) -> Answer:
        """Return the class of the first output spike.

        Args:
            output: Output spike times and potentials.
        """
        return Answer(
            first_spike_class(output.spike_time, output.potential),
            torch.isinf(decision_time(output.spike_time)),
            first_spike_tied(output.spike_time),
        )

    def predict_step(
        self, batch: Tensor | tuple[Tensor, Tensor], batch_idx: int
    ) -> Prediction:
        """Return class and decision time of each sample."""
        output = self(batch if isinstance(batch, Tensor) else batch[0])
        predicted = self.answer(output).predicted_class
        return Prediction(predicted, decision_time(output.spike_time))


def _check(hparams: Any) -> None:
    saturation = hparams["saturation"]
    limits = {
        "target": (hparams["target"] in ("mean", "first"), "'mean' or 'first'"),
        "num_ticks": (hparams["num_ticks"] >= 1, "1 or more"),
        "gap": (0 < hparams["gap"] <= 1, "above 0, up to 1"),
        "saturation": (saturation is None or 0 < saturation < math.inf, "above 0"),
        "x_min": (hparams["x_min"] < 1, "below 1"),
        "jitter": (0 <= hparams["jitter"] < math.inf, "0 or more"),
        **optimiser_limits(hparams, constant_rate=False),
        "conv_lr_scale": (0 < hparams["conv_lr_scale"] < math.inf, "above 0"),
    }
    require_limits(hparams, limits)
