"""ReL-PSP and LIF layers and neurons in snnTorch's manners.

Window form: layers that take and give whole trains (time, batch, ...), like
`snn.LinearLeaky`.

ReL-PSP neurons spike once: `ReLPSPLinear`, `ReLPSPConv2d`, `EarliestSpikePool2d`, and
in step form `ReLPSP`, which stands in the place of `snn.Leaky` in a loop over ticks.
Both forms compute the same spikes and learn from spike timing, so use a loss on
first-spike times (`ce_ttfs_loss`, or snnTorch's `ce_temporal_loss`): a spike count does
not change when a spike moves.

    from snn_temporal_plugins.adapters import snntorch as tsnn

    net = nn.Sequential(tsnn.ReLPSPLinear(64, 100, dt=0.02, output=False),
                        tsnn.ReLPSPLinear(100, 10, dt=0.02, output=False))
    loss = tsnn.ce_ttfs_loss(dt=0.02)(net(tsnn.latency(images, 100)), labels)

LIF neurons spike as often as they like and learn by TSSL-BP: `LIFLinear`, `LIFConv2d`.
Stock neurons may stand before and behind them, with `surrogate.tssl_bp` if they are to
learn by its surrogate. A pool or dropout of spikes gives other values than 0 and 1, so
the layer behind it says `graded=True`:

    net = nn.Sequential(tsnn.LIFConv2d(1, 12, 5, num_steps=5, output=False),
                        tsnn.PSPPool2d(2), nn.Flatten(2),
                        tsnn.LIFLinear(48, 10, graded=True))
    spk, psp = net(images)                                 # images (batch, 1, 8, 8)
    loss = snn_temporal_plugins.kernel_loss(psp, labels)

`register()` makes snnTorch itself know them; without it use `reset` of this module in
place of `snntorch.utils.reset`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from snn_temporal_plugins.adapters import surrogate
from snn_temporal_plugins.adapters.lif_window import LIFWindowState
from snn_temporal_plugins.adapters.registration import Change, Registration
from snn_temporal_plugins.adapters.snntorch_host import host_changes, reset
from snn_temporal_plugins.adapters.snntorch_lif import LIFConv2d, LIFLinear
from snn_temporal_plugins.adapters.snntorch_window import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.adapters.trains import accuracy_ttfs, ce_ttfs_loss, latency
from snn_temporal_plugins.adapters.window import EarliestSpikePool2d
from snn_temporal_plugins.functional.relpsp import ReLPSPState, relpsp_step
from snn_temporal_plugins.neurons import PSPDropout, PSPPool2d

try:
    import snntorch
    from snntorch import utils as host_utils
except ImportError as error:
    raise ImportError(
        "the snnTorch adapter needs snnTorch: "
        'pip install "snn-temporal-plugins[snntorch]"'
    ) from error

__all__ = [
    "ReLPSP",
    "ReLPSPState",
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "EarliestSpikePool2d",
    "LIFLinear",
    "LIFConv2d",
    "LIFWindowState",
    "PSPPool2d",
    "PSPDropout",
    "surrogate",
    "latency",
    "ce_ttfs_loss",
    "accuracy_ttfs",
    "reset",
    "register",
    "unregister",
]


class ReLPSP(snntorch.SpikingNeuron):
    """ReL-PSP neuron for a loop over ticks, in the place of `snn.Leaky`.

    V += G; spike once when V >= threshold/dt; G += input. An input first acts one tick
    later, a neuron spikes at most once per sequence, and the gradient is that of spike
    timing (`snn_temporal_plugins.functional.relpsp`), not a surrogate:

        spk, state = neuron(self.fc(x[t]), state)       # state = neuron.reset_mem()

    As in every snnTorch neuron, a call without a state goes on from the neuron's own
    one until `reset_mem()`; a batch of another shape starts afresh. The state is a
    plain attribute: it is no part of the state_dict and is dropped when the module is
    copied or pickled.

    Args:
        threshold: v_th > 0, a number or one per neuron.
        dt: length of a tick in the unit of time of the threshold.
        init_hidden: keep the state inside; the call then gives the spikes alone.
        output: with `init_hidden`, give (spk, mem) with mem = V dt, for a last layer.
        learn_threshold: make the threshold a parameter.
        slope_clip: largest 1/slope in the gradient; None: no limit.
    """

    nir_node = "ReLPSP"  # what the export takes this neuron for

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        dt: float = 0.01,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
        slope_clip: float | None = None,
    ) -> None:
        threshold = torch.as_tensor(threshold)
        if not (threshold > 0).all():
            raise ValueError(f"threshold={threshold.tolist()}: must be above 0")
        if not threshold.is_floating_point():
            threshold = threshold.to(torch.get_default_dtype())
        super().__init__(
            threshold=threshold,
            surrogate_disable=True,
            init_hidden=init_hidden,
            learn_threshold=learn_threshold,
            reset_mechanism="none",
            output=output,
        )
        # snnTorch 1.0 keeps every neuron ever made alive in a class-level list.
        instances = getattr(snntorch.SpikingNeuron, "instances", [])
        if self in instances:
            instances.remove(self)
        self.dt = dt
        self.slope_clip = slope_clip
        self.state: ReLPSPState | None = None

    def forward(self, input_: Tensor, state: ReLPSPState | None = None) -> Any:
        """Advance by one tick.

        Args:
            input_: (batch, ...), weighted input spikes of this tick.
            state: state after the tick before; None: the neuron's own.

        Returns:
            (spk, state); spk alone with `init_hidden`; (spk, mem) with `init_hidden`
            and `output`. spk and mem have the shape and dtype of `input_`.
        """
        if self.init_hidden and state is not None:
            raise TypeError("with init_hidden=True the neuron keeps its state itself")
        if state is None:
            state = self.state if _fits(self.state, input_) else None
        elif state.v.shape == (0,):  # what reset_mem() returns
            state = None
        spk, self.state = relpsp_step(
            input_, state, self.threshold, self.dt, slope_clip=self.slope_clip
        )
        if not self.init_hidden:
            return spk, self.state
        return (spk, self.state.v * self.dt) if self.output else spk

    def reset_mem(self) -> ReLPSPState:
        """Forget the sequence, and return the (empty) state to start a new one with."""
        self.state = None
        empty = torch.zeros(0, dtype=self.threshold.dtype, device=self.threshold.device)
        return ReLPSPState(empty, empty, empty.bool(), empty)

    def extra_repr(self) -> str:
        """Show the tick and the protocol."""
        return f"dt={self.dt}, init_hidden={self.init_hidden}, output={self.output}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}


def _fits(state: ReLPSPState | None, input_: Tensor) -> bool:
    return state is not None and (
        (state.v.shape, state.v.dtype, state.v.device)
        == (input_.shape, input_.dtype, input_.device)
    )


_OURS = (
    ReLPSP,
    ReLPSPLinear,
    ReLPSPConv2d,
    EarliestSpikePool2d,
    LIFLinear,
    LIFConv2d,
    PSPPool2d,
    PSPDropout,
)
_registration = Registration()


def register() -> AbstractContextManager[Any]:
    """Make snnTorch know the plugins, until `unregister()` or the end of a `with`.

    `snntorch.ReLPSP`, `.LIFLinear` and the other modules appear, and
    `snntorch.surrogate.tssl_bp`; `snntorch.utils.reset` resets them (and stock neurons,
    nested ones too, of this network only); `snntorch.backprop.BPTT` runs with those in
    step form; `snntorch.export_nir.export_to_nir` exports networks that hold them.
    Registering twice is the same as once.

    Returns:
        A context manager that undoes this call.

    Raises:
        ValueError: snnTorch already has one of the names.
    """
    names = [Change(snntorch, ours.__name__, ours) for ours in _OURS]
    names.append(Change(snntorch.surrogate, "tssl_bp", surrogate.tssl_bp))
    return _registration.register([*names, *host_changes(host_utils, _OURS)])


def unregister() -> None:
    """Put snnTorch back exactly as it was before `register()`."""
    _registration.unregister()
