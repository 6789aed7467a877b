"""Learning rules: one file, one paper, one rule.

`RULES` is the literal table of the built-in rules. A third-party package adds its own
through the entry-point group `snn_temporal_plugins.rules`, whose value names a
`RuleInfo`; `get_rule` finds both. `snn_temporal_plugins.testing.check_rule` is the
contract a rule must keep.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Literal

from snn_temporal_plugins.functional.spike_train import (
    SpikeTrainState,
    SpikeTrainWindow,
)
from snn_temporal_plugins.rules.sstdp import sstdp, sstdp_conv2d, sstdp_with_potential
from snn_temporal_plugins.rules.st_rsbp import st_rsbp, st_rsbp_window
from snn_temporal_plugins.rules.st_rsbp_pool import st_rsbp_pool, st_rsbp_pool_window
from snn_temporal_plugins.rules.stdbp import stdbp, stdbp_conv2d
from snn_temporal_plugins.rules.tssl_bp import LIFWindow, tssl_bp, tssl_bp_window

GROUP = "snn_temporal_plugins.rules"


@dataclass(frozen=True)
class RuleInfo:
    """What a learning rule is and what its backward claims.

    Args:
        name: The name users write, for example `rule="stdbp"`.
        function: The rule itself.
        domain: Whether tensors hold first-spike times or spike trains.
        exact_gradient: True if the backward is the true derivative of the forward.
        reference: The paper.
        window: For rules on spike trains: the form that takes and gives a state, for
            streams that are cut into windows. Without it a layer cannot be continued.
        conv2d: For rules on spike times: the form on maps, with `stride` and `padding`.
            Without it a convolution cuts its input into patches.
        response: For rules on spike times: what an input spike adds to the potential. A
            "ramp" lives on real times, a "step" on whole ticks from 0 on.
        takes: For rules on spike trains: what the function is called with. "current":
            currents alone, and PSPs come out; "spikes": input spikes, weights and
            recurrent weights (or None), and spikes come out.
    """

    name: str
    function: Callable
    domain: Literal["spike time", "spike train"]
    exact_gradient: bool
    reference: str
    window: Callable | None = None
    conv2d: Callable | None = None
    response: Literal["ramp", "step"] = "ramp"
    takes: Literal["current", "spikes"] = "current"


RULES: Mapping[str, RuleInfo] = MappingProxyType(
    {
        "stdbp": RuleInfo(
            name="stdbp",
            function=stdbp,
            domain="spike time",
            exact_gradient=True,
            reference="Zhang et al., arXiv 2003.11837, IEEE TNNLS 33(5):1947-1958",
            conv2d=stdbp_conv2d,
        ),
        "sstdp": RuleInfo(
            name="sstdp",
            function=sstdp,
            domain="spike time",
            exact_gradient=False,
            reference="Liu et al., Front. Neurosci. 15:756876 (2021)",
            response="step",
        ),
        "tssl_bp": RuleInfo(
            name="tssl_bp",
            function=tssl_bp,
            domain="spike train",
            exact_gradient=False,
            reference="Zhang and Li, NeurIPS 2020",
            window=tssl_bp_window,
        ),
        "st_rsbp": RuleInfo(
            name="st_rsbp",
            function=st_rsbp,
            domain="spike train",
            exact_gradient=False,
            reference="Zhang and Li, NeurIPS 2019",
            window=st_rsbp_window,
            takes="spikes",
        ),
    }
)


@lru_cache(maxsize=1)
def _third_party_rules() -> Mapping[str, RuleInfo]:
    found: dict[str, RuleInfo] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in RULES or entry.name in found:
            raise ValueError(
                f"rule {entry.name!r} of {entry.value} has a name that is taken; "
                "uninstall one of the two packages."
            )
        try:
            info = entry.load()
        except Exception as error:  # one broken plugin must not hide the others
            warnings.warn(
                f"rule {entry.name!r} cannot be loaded: {error}", stacklevel=3
            )
            continue
        found[entry.name] = info
    return MappingProxyType(found)


def get_rule(name: str) -> RuleInfo:
    """Look up a learning rule by name, built in or installed by another package.

    Args:
        name: For example "stdbp".

    Returns:
        The rule's description; `.function` is the rule.

    Raises:
        ValueError: no installed rule has this name; the message lists those that exist.
    """
    if name in RULES:
        return RULES[name]
    others = _third_party_rules()
    if name not in others:
        known = ", ".join(sorted([*RULES, *others]))
        raise ValueError(f"unknown rule {name!r}; installed rules are: {known}.")
    return others[name]


__all__ = [
    "RULES",
    "LIFWindow",
    "RuleInfo",
    "SpikeTrainState",
    "SpikeTrainWindow",
    "get_rule",
    "sstdp",
    "sstdp_conv2d",
    "sstdp_with_potential",
    "st_rsbp",
    "st_rsbp_pool",
    "st_rsbp_pool_window",
    "st_rsbp_window",
    "stdbp",
    "stdbp_conv2d",
    "tssl_bp",
    "tssl_bp_window",
]
