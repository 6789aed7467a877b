"""The Lightning module for spike trains: leaky neurons that learn by TSSL-BP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from snn_temporal_plugins.functional import (
    count_loss,
    kernel_loss,
    psp_filter,
    softmax_loss,
    summed_psp_class,
)
from snn_temporal_plugins.functional.lif import require_spikes
from snn_temporal_plugins.neurons import build_network
from snn_temporal_plugins.training.classifier import (
    Answer,
    Classifier,
    first,
    optimiser_limits,
    require_limits,
    require_rule,
)
from snn_temporal_plugins.training.normalise import normalised, require_mean_and_std

Loss = Literal["kernel", "count", "softmax"]


class TrainPrediction(NamedTuple):
    """What the network answered.

    Attributes:
        predicted_class: Class with the largest summed PSP, int64 `(batch,)`; -1 where
            no output spiked.
        summed_psp: That sum, `(batch,)`.
    """

    predicted_class: Tensor
    summed_psp: Tensor


class SpikeTrainClassifier(Classifier):
    """Train a network on spike trains on batches `(x, label)`; the largest PSP wins.

    The defaults are the training recipe of TSSL-BP's authors for static images: the
    image is a constant input current for 5 steps, the loss compares output PSPs with
    those of a desired spike train, AdamW with a constant learning rate, gradients
    clipped to a norm of 1 and weights to [-4, 4].

    The network is an architecture string, or a module of your own that takes x as it
    comes from the data (events with time first) and gives PSPs, or with
    `output="spikes"` spikes, of shape `(time, batch, classes)`, alone or as the first
    of a tuple as both hosts return them. Modules with a method `reset_mem` are reset
    when a step begins. A module is no hyper-parameter: give it again to
    `load_from_checkpoint`.

    Args:
        network: Architecture such as `784-400-400-10`, or a module of your own.
        rule: Name of the learning rule; only for an architecture string, like all up to
            `rule_options`.
        num_steps: Steps for which an image is shown. None: x holds events
            `(batch, time, ...)`.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps; also that of the kernel loss.
        v_th: Threshold of the neurons.
        reset: "hard" sets a membrane that fired to 0, "soft" subtracts v_th.
        dropout: Probability that a hidden neuron is cut off in training.
        conv_weight_scale: Factor of the convolutions' initial weights.
        rule_options: Further options of the rule, such as `decision`.
        mean: Mean of the intensities, one number or one per channel; x becomes
            (x - mean) / std.
        std: Their standard deviation.
        output: What a module of your own gives, "psp" or "spikes".
        loss: "kernel", "count" or "softmax".
        target_filter: Kernel loss: how often the desired spikes are filtered, "single"
            or "double".
        desired_count: Count loss: goal of the label neuron.
        undesired_count: Count loss: goal of the others.
        lr: Learning rate; with `warmup` the highest one.
        weight_decay: Weight decay of AdamW.
        warmup: None: the learning rate is constant. A number: one-cycle schedule, and
            this share of the steps for the rise.
        max_norm: Norm to which the gradient is clipped; None: not at all. The
            Trainer's own `gradient_clip_val` goes first.
        max_weight: Weights are kept within +- this; None: not at all.

    Reference:
        Zhang and Li, NeurIPS 2020; recipe of the released code.
    """

    def __init__(
        self,
        network: str | nn.Module,
        *,
        rule: str = "tssl_bp",
        num_steps: int | None = 5,
        tau_mem: float = 5.0,
        tau_syn: float = 3.0,
        v_th: float = 1.0,
        reset: str = "hard",
        dropout: float = 0.0,
        conv_weight_scale: float = 1.0,
        rule_options: dict[str, Any] | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        output: Literal["psp", "spikes"] = "psp",
        loss: Loss = "kernel",
        target_filter: Literal["single", "double"] = "double",
        desired_count: float = 15.0,
        undesired_count: float = 3.0,
        lr: float = 5e-4,
        weight_decay: float = 0.01,
        warmup: float | None = None,
        max_norm: float | None = 1.0,
        max_weight: float | None = 4.0,
    ) -> None:
        super().__init__()
        own_module = isinstance(network, nn.Module)
        self.save_hyperparameters(ignore=["network"] if own_module else [])
        _check(self.hparams, own_module)
        if isinstance(network, str):
            require_rule(rule, "SpikeTrainClassifier")
            network = build_network(
                network,
                rule=rule,
                num_steps=num_steps,
                tau_mem=tau_mem,
                tau_syn=tau_syn,
                v_th=v_th,
                reset=reset,
                dropout=dropout,
                conv_weight_scale=conv_weight_scale,
                rule_options=rule_options,
            )
        self.hold(network)
        self.summed_loss = loss != "softmax"

    def forward(self, x: Tensor) -> Tensor:
        """Return the output PSPs.

        Args:
            x: Images `(batch, ...)`, or events `(batch, time, ...)` where `num_steps`
                is None.

        Returns:
            PSPs, shape `(time, batch, classes)`.

        Raises:
            ValueError: If the network's output has another shape, or holds other
                values than 0 and 1 where it should be spikes.
        """
        self.forget()
        psp = first(self.network(self.network_input(x)))
        if psp.dim() != 3 or psp.shape[1] != len(x):
            raise ValueError(
                f"the network gave an output of shape {tuple(psp.shape)}, expected "
                f"(time, {len(x)}, classes)"
            )
        if self.hparams["output"] == "spikes":
            require_spikes(psp, "the network's output")
            psp = psp_filter(psp, self.hparams["tau_syn"])
        return psp

    def network_input(self, x: Tensor) -> Tensor:
        """Return x as the network takes it: normalised, events with time first."""
        x = normalised(x, self.hparams["mean"], self.hparams["std"])
        return x.transpose(0, 1) if self.hparams["num_steps"] is None else x

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the loss of the output PSPs.

        Args:
            output: Output PSPs, shape `(time, batch, classes)`.
            label: Class indices, shape `(batch,)`.

        Returns:
            The loss, a scalar: a mean over the batch for "softmax", else a sum.
        """
        h = self.hparams
        if h["loss"] == "softmax":
            return softmax_loss(output, label)
        if h["loss"] == "count":
            return count_loss(
                output,
                label,
                desired_count=h["desired_count"],
                undesired_count=h["undesired_count"],
            )
        return kernel_loss(
            output, label, tau_syn=h["tau_syn"], target_filter=h["target_filter"]
        )

    def answer(self, output: Tensor) -> Answer:
        """Return the class with the largest summed PSP.

        Args:
            output: Output PSPs, shape `(time, batch, classes)`.
        """
        return Answer(summed_psp_class(output), output.amax((0, 2)) == 0)

    def predict_step(
        self, batch: Tensor | tuple[Tensor, Tensor], batch_idx: int
    ) -> TrainPrediction:
        """Return class and summed PSP of each sample."""
        psp = self(batch if isinstance(batch, Tensor) else batch[0])
        return TrainPrediction(summed_psp_class(psp), psp.sum(0).amax(1))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the Trainer says, else to the norm `max_norm`."""
        if gradient_clip_val is None:
            gradient_clip_val = self.hparams["max_norm"]
        self.clip_gradients(
            optimizer,
            gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm or "norm",
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and keep the weights within +-`max_weight`.

        Here and not when the batch ends: there callbacks come first, and would save
        weights that are not clamped yet.
        """
        super().optimizer_step(*args, **kwargs)
        bound = self.hparams["max_weight"]
        if bound is None:
            return
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if name.endswith("weight"):
                    parameter.clamp_(-bound, bound)


def _check(hparams: Any, own_module: bool) -> None:
    def above_0(name: str) -> tuple[bool, str]:
        value = hparams[name]
        return value is None or 0 < value < math.inf, "above 0, or null for none"

    output = hparams["output"]
    require_limits(
        hparams,
        {
            **optimiser_limits(hparams, constant_rate=True),
            "max_norm": above_0("max_norm"),
            "max_weight": above_0("max_weight"),
            "loss": (
                hparams["loss"] in ("kernel", "count", "softmax"),
                "'kernel', 'count' or 'softmax'",
            ),
            "output": (
                output == "psp" or (output == "spikes" and own_module),
                "'psp', or 'spikes' for a module of your own",
            ),
        },
    )
    require_mean_and_std(hparams["mean"], hparams["std"])
