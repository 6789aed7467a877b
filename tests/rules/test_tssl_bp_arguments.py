"""TSSL-BP refuses what it cannot run, and says what is allowed."""

import math

import pytest
import torch

from snn_temporal_plugins.functional.lif import LIFState
from snn_temporal_plugins.rules import tssl_bp, tssl_bp_window

STATE = LIFState(torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"current": [[1.0]]}, TypeError, "current is list"),
        ({"current": torch.ones(4, 2, 3).long()}, TypeError, "current is torch.int64"),
        ({"current": torch.ones(4)}, ValueError, r"\(4,\).*\(time, batch, ...\)"),
        ({"current": torch.ones(0, 2, 3)}, ValueError, "at least one step"),
        ({"current": torch.full((4, 2, 3), math.nan)}, ValueError, "NaN or inf"),
        ({"current": torch.full((4, 2, 3), -math.inf)}, ValueError, "NaN or inf"),
        ({"tau_mem": 0.99}, ValueError, "tau_mem is 0.99.*at least 1"),
        ({"tau_mem": math.inf}, ValueError, "tau_mem is inf"),
        ({"tau_syn": 0.0}, ValueError, "tau_syn is 0.0.*at least 1"),
        ({"tau_syn": math.nan}, ValueError, "tau_syn is nan"),
        ({"v_th": math.nan}, ValueError, "v_th is nan"),
        ({"v_th": math.inf}, ValueError, "v_th is inf"),
        ({"reset": "none"}, ValueError, "'none'; allowed are 'hard' and 'soft'"),
        ({"decision": "layer"}, ValueError, "'layer'; allowed are 'element', 'layer_"),
        ({"rate_threshold": -0.1}, ValueError, "rate_threshold is -0.1.*0 to 1"),
        ({"rate_threshold": 5.0}, ValueError, "rate_threshold is 5.0"),
        ({"clip": 0.0}, ValueError, "clip is 0.0"),
        ({"clip": math.inf}, ValueError, "clip is inf"),
        ({"alpha": -0.2}, ValueError, "alpha is -0.2"),
        ({"alpha": math.nan}, ValueError, "alpha is nan"),
        ({"state": STATE._replace(v=torch.zeros(3))}, ValueError, r"state.v .*\(3,\)"),
        ({"state": STATE._replace(psp=torch.zeros(2, 4))}, ValueError, "state.psp"),
        ({"state": STATE._replace(v=STATE.v.double())}, ValueError, "float64.*float32"),
        (
            {"state": STATE._replace(v=STATE.v * math.nan)},
            ValueError,
            "state holds NaN",
        ),
        ({"state": STATE._replace(v=STATE.v.to("meta"))}, ValueError, "meta"),
        ({"state": torch.zeros(2, 3)}, TypeError, "state is Tensor.*LIFState"),
        ({"state": (STATE.v, None)}, TypeError, "state.psp is NoneType"),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"current": torch.ones(4, 2, 3)} | change
    with pytest.raises(error, match=message):
        tssl_bp_window(
            arguments.pop("current"), arguments.pop("state", None), **arguments
        )
    if "state" not in change:
        arguments = {"current": torch.ones(4, 2, 3)} | change
        with pytest.raises(error, match=message):
            tssl_bp(arguments.pop("current"), **arguments)
