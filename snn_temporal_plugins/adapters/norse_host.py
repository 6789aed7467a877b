"""What Norse's own functions do while the plugins are registered.

Norse 1.1 picks a surrogate by an if-chain in `threshold`, and each module of neurons
imports that function under its own name. So the function is replaced wherever it is.
"""

from __future__ import annotations

import sys
from importlib import import_module

from torch import Tensor

from snn_temporal_plugins.adapters.registration import Change
from snn_temporal_plugins.functional.surrogate import sigmoid_surrogate


def threshold_changes() -> list[Change]:
    """Return the changes that make `method="tssl_bp"` known to every neuron of Norse.

    Returns:
        One change for each module of Norse that holds a reference to its `threshold`.
    """
    host = import_module("norse.torch.functional.threshold").threshold

    def threshold(x: Tensor, method: str, alpha: float) -> Tensor:
        """Norse's thresholds, and "tssl_bp": a sigmoid's derivative of width alpha."""
        if method == "tssl_bp":
            return sigmoid_surrogate(x, float(alpha))
        return host(x, method, alpha)

    return [
        Change(module, name, threshold, replaces=True)
        for path, module in sorted(sys.modules.items())
        if path.partition(".")[0] == "norse" and module is not None
        for name, value in list(vars(module).items())
        if value is host
    ]
