"""Look at the spike times inside a network while Lightning runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from snn_temporal_plugins.functional import train_to_times
from snn_temporal_plugins.training.module import TemporalClassifier


def spiking_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have weights and thresholds, named `layer1`, `layer2`, ...

    Args:
        network: The network; layers inside such a layer are not looked for.

    Returns:
        Modules with the tensors `weight`, `(out, in, ...)`, and `v_th`, `(out,)`, in
        the order in which they were registered.
    """

    def visit(module: nn.Module) -> Iterator[nn.Module]:
        if hasattr(module, "weight") and hasattr(module, "v_th"):
            yield module
        else:
            for child in module.children():
                yield from visit(child)

    return {f"layer{k}": layer for k, layer in enumerate(visit(network), start=1)}


@contextmanager
def record_spike_times(classifier: TemporalClassifier) -> Iterator[dict[str, Tensor]]:
    """Keep the spike times of the last forward pass while the context is open.

    Args:
        classifier: The module whose network is looked at.

    Yields:
        Spike times by name, `(batch, ...)`, `inf` where silent, in the unit of time of
        the classifier: `input`, each layer of `spiking_layers`, and `output`, in the
        order in which they arise. Each forward pass replaces them.
    """
    times: dict[str, Tensor] = {}
    num_steps = classifier.hparams["num_steps"]

    def keep(name: str, output: Any) -> None:
        value = output if isinstance(output, Tensor) else output[0]
        if num_steps is not None:
            value = train_to_times(value) * (classifier.hparams["t_max"] / num_steps)
        times[name] = value.detach()

    def keep_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        times.clear()
        keep("input", inputs[0])

    def keep_output_as(name: str) -> Any:
        return lambda _module, _inputs, output: keep(name, output)

    with ExitStack() as hooks:
        hooks.enter_context(classifier.network.register_forward_pre_hook(keep_input))
        for name, layer in spiking_layers(classifier.network).items():
            hooks.enter_context(layer.register_forward_hook(keep_output_as(name)))
        # not of the classifier itself, through whose call DDP sends each step
        hooks.enter_context(
            classifier.network.register_forward_hook(keep_output_as("output"))
        )
        yield times


class Recording(Callback):
    """Base of the callbacks that look at spike times while a loop runs."""

    def __init__(self) -> None:
        self.times: dict[str, Tensor] = {}
        self._hooks = ExitStack()

    def start(self, classifier: LightningModule) -> None:
        """Begin to keep the spike times of each forward pass in `times`."""
        if not isinstance(classifier, TemporalClassifier):
            raise TypeError(
                f"{type(self).__name__} works with TemporalClassifier, "
                f"got {type(classifier).__name__}"
            )
        self.stop()
        self.times = self._hooks.enter_context(record_spike_times(classifier))

    def stop(self) -> None:
        """Take the hooks out of the network again."""
        self._hooks.close()
        self.times = {}

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave no hook behind in the network."""
        self.stop()
