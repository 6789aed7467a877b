"""Look at the spikes inside a network while Lightning runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from snn_temporal_plugins.functional import psp_filter, train_to_times
from snn_temporal_plugins.neurons import SpikeTrainPool2d
from snn_temporal_plugins.training.classifier import first
from snn_temporal_plugins.training.module import TemporalClassifier
from snn_temporal_plugins.training.spike_count import SpikeCountClassifier
from snn_temporal_plugins.training.spike_train import SpikeTrainClassifier
from snn_temporal_plugins.training.tick_classifier import TickClassifier

T = TypeVar("T")
Keep = Callable[[str, nn.Module, Any], None]
FirstSpikes = TemporalClassifier | TickClassifier  # the modules on first spikes
Trains = SpikeTrainClassifier | SpikeCountClassifier  # those on spike trains


class SpikeTrains(NamedTuple):
    """What the neurons of a layer did in a window.

    Attributes:
        spikes: 0 or 1, `(time, batch, ...)`.
        psp: Their postsynaptic potentials, `(time, batch, ...)`.
        tau_syn: Synaptic time constant of these, in steps.
    """

    spikes: Tensor
    psp: Tensor
    tau_syn: float


def spiking_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have weights and thresholds, named `layer1`, `layer2`, ...

    Args:
        network: The network; layers inside such a layer are not looked for.

    Returns:
        Modules with `weight`, `(out, in, ...)`, and `v_th`, their own or of the layer
        `core` which they wrap, and pools of spiking neurons, whose weights are all 1;
        in the order in which they were registered.
    """

    def visit(module: nn.Module) -> Iterator[nn.Module]:
        pool = isinstance(getattr(module, "core", module), SpikeTrainPool2d)
        weights = pool or hasattr(module, "weight")
        if weights and _constant(module, "v_th") is not None:
            yield module
        else:
            for child in module.children():
                yield from visit(child)

    return {f"layer{k}": layer for k, layer in enumerate(visit(network), start=1)}


def _constant(layer: nn.Module, name: str) -> Any:
    """A constant of a layer; one in a host may leave it to the layer it wraps."""
    return getattr(layer, name, getattr(getattr(layer, "core", None), name, None))


@contextmanager
def record_spike_times(classifier: FirstSpikes) -> Iterator[dict[str, Tensor]]:
    """Keep the spike times of the last forward pass while the context is open.

    Args:
        classifier: The module whose network is looked at.

    Yields:
        Spike times by name, `(batch, ...)`, `inf` where silent, in the unit of time of
        the classifier: `input`, each layer of `spiking_layers`, and `output`, in the
        order in which they arise. Each forward pass replaces them.

    Raises:
        TypeError: If the module works with spike trains.
    """
    _require("record_spike_times", classifier, FirstSpikes)
    times: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, output: Any) -> None:
        times[name] = spike_times_of(classifier, output)

    with _hooks(classifier.network, times.clear, keep):
        yield times


def spike_times_of(classifier: FirstSpikes, passed: Any) -> Tensor:
    """Return the spike times of what passes through the network of a classifier.

    Args:
        classifier: The module, which says whether spike times or trains pass.
        passed: What enters or leaves a layer, alone or first of a tuple.

    Returns:
        Spike times in the unit of time of the classifier, `(batch, ...)`.
    """
    value, num_steps = first(passed), classifier.hparams.get("num_steps")
    if num_steps is not None:
        value = train_to_times(value) * (classifier.hparams["t_max"] / num_steps)
    return value.detach()


@contextmanager
def record_spike_trains(
    classifier: Trains,
) -> Iterator[dict[str, SpikeTrains]]:
    """Keep the spike trains of the last forward pass while the context is open.

    Args:
        classifier: The module whose network is looked at.

    Yields:
        Spikes and PSPs by name: `input` where that is spikes, each layer of
        `spiking_layers`, and `output`, in the order in which they arise. Each forward
        pass replaces them.

    Raises:
        TypeError: If the module works with spike times.
    """
    _require("record_spike_trains", classifier, Trains)
    trains: dict[str, SpikeTrains] = {}

    def keep(name: str, layer: nn.Module, output: Any) -> None:
        value = first(output).detach()
        if name == "input" and isinstance(classifier, SpikeTrainClassifier):
            if classifier.hparams["num_steps"] is not None:
                return  # images
        tau_syn = _constant(layer, "tau_syn") or classifier.hparams["tau_syn"]
        # A layer in a host gives its spikes, one of the core their PSPs. Where a PSP is
        # 0 and 1 throughout, it equals the spikes: no neuron fired, or tau_syn is 1.
        if ((value == 0) | (value == 1)).all():
            trains[name] = SpikeTrains(value, psp_filter(value, tau_syn), tau_syn)
        elif name != "input":
            trains[name] = SpikeTrains(spikes_of(value, tau_syn), value, tau_syn)

    with _hooks(classifier.network, trains.clear, keep):
        yield trains


def without_repeat(seen: Mapping[str, T]) -> dict[str, T]:
    """Leave `output` out where it is the last layer, or follows from it.

    Args:
        seen: What was recorded.

    Returns:
        What pictures show one below the other.
    """
    layers = any(name.startswith("layer") for name in seen)
    return {name: of for name, of in seen.items() if name != "output" or not layers}


def spikes_of(psp: Tensor, tau_syn: float) -> Tensor:
    """Return the spikes whose postsynaptic potentials these are: `psp_filter` undone.

        s[t] = a[t-1] + tau_syn (a[t] - a[t-1]),   a[-1] = 0

    Args:
        psp: Potentials of single neurons, `(time, batch, ...)`.
        tau_syn: Synaptic time constant, in steps.

    Returns:
        0 or 1, the shape of `psp`: rounded, since s is exact up to rounding errors.
    """
    before = torch.cat([torch.zeros_like(psp[:1]), psp[:-1]])
    return (before + tau_syn * (psp - before) > 0.5).to(psp.dtype)


@contextmanager
def _hooks(network: nn.Module, begin: Callable[[], None], keep: Keep) -> Iterator[None]:
    """Call `begin`, then `keep` with what goes in, through and out of a network."""

    def keep_input(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        begin()
        keep("input", module, inputs[0])

    def keep_output_as(name: str) -> Any:
        return lambda module, _inputs, output: keep(name, module, output)

    with ExitStack() as hooks:
        hooks.enter_context(network.register_forward_pre_hook(keep_input))
        for name, layer in spiking_layers(network).items():
            hooks.enter_context(layer.register_forward_hook(keep_output_as(name)))
        # not of the classifier itself, through whose call DDP sends each step
        hooks.enter_context(network.register_forward_hook(keep_output_as("output")))
        yield


def _require(name: str, module: object, kind: Any) -> None:
    if not isinstance(module, kind):
        kinds = " and ".join(of.__name__ for of in getattr(kind, "__args__", (kind,)))
        raise TypeError(f"{name} works with {kinds}, got {type(module).__name__}")


class Recording(Callback):
    """Base of the callbacks that look at spikes while a loop runs."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self._hooks = ExitStack()

    def start(self, classifier: LightningModule) -> None:
        """Begin to keep the spikes of each forward pass in `seen`.

        Spike times of a `TemporalClassifier` or `TickClassifier`, spike trains of a
        `SpikeTrainClassifier` or `SpikeCountClassifier`.
        """
        recording: AbstractContextManager[dict[str, Any]]
        if isinstance(classifier, FirstSpikes):
            recording = record_spike_times(classifier)
        elif isinstance(classifier, Trains):
            recording = record_spike_trains(classifier)
        else:
            raise TypeError(
                f"{type(self).__name__} works with TemporalClassifier, TickClassifier, "
                "SpikeTrainClassifier and SpikeCountClassifier, got "
                f"{type(classifier).__name__}"
            )
        self.stop()
        self.seen = self._hooks.enter_context(recording)

    def stop(self) -> None:
        """Take the hooks out of the network again."""
        self._hooks.close()
        self.seen = {}

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no hook behind in the network."""
        self.stop()
