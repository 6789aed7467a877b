"""SSTDP refuses what it cannot run, and says what is allowed."""

import math

import pytest
import torch

from snn_temporal_plugins.rules.sstdp import sstdp, sstdp_with_potential


def with_time(value):
    time = torch.zeros(2, 3)
    time[1, 2] = value
    return {"spike_time": time}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (with_time(0.5), ValueError, "0.5; allowed are whole ticks from 0 to.*latency"),
        (with_time(8.0), ValueError, "holds 8.0.*t_max - 1 = 7, and inf for silence"),
        (with_time(math.nan), ValueError, "spike_time holds nan"),
        (with_time(-1.0), ValueError, "spike_time holds -1.0"),
        (with_time(-math.inf), ValueError, "spike_time holds -inf"),
        (
            {
                "spike_time": torch.zeros(2, 3).bfloat16(),
                "weight": torch.ones(4, 3).bfloat16(),
                "t_max": 257,
            },
            ValueError,
            "t_max is 257, but torch.bfloat16 holds whole ticks up to 256",
        ),
        ({"spike_time": [[1.0]]}, TypeError, "spike_time is list"),
        ({"spike_time": torch.zeros(2, 3).long()}, TypeError, "is torch.int64"),
        ({"spike_time": torch.zeros(3)}, ValueError, r"\(3,\).*\(batch, ..., 3\)"),
        ({"spike_time": torch.zeros(2, 4)}, ValueError, r"\(2, 4\).*3 inputs"),
        ({"spike_time": torch.zeros(2, 3).double()}, TypeError, "float64.*float32"),
        ({"weight": None}, TypeError, "weight is NoneType"),
        ({"weight": torch.ones(4, 3).int()}, TypeError, "weight is torch.int32"),
        ({"weight": torch.ones(3)}, ValueError, r"weight has shape \(3,\).*\(out, in"),
        ({"weight": torch.full((4, 3), math.nan)}, ValueError, "weight holds NaN"),
        ({"weight": torch.full((4, 3), math.inf)}, ValueError, "weight holds NaN"),
        ({"v_th": 0.0}, ValueError, "v_th is 0.0; it must be positive"),
        ({"v_th": -1.0}, ValueError, "v_th is -1.0"),
        ({"v_th": math.nan}, ValueError, "v_th is nan"),
        ({"v_th": math.inf}, ValueError, "v_th is inf"),
        ({"v_th": torch.tensor(-1.0)}, ValueError, "v_th holds.*positive thresholds"),
        ({"v_th": torch.ones(3)}, ValueError, r"v_th has shape \(3,\).*\(4,\)"),
        ({"t_max": 0}, ValueError, "t_max is 0; it must be"),
        ({"t_max": 8.0}, ValueError, "t_max is 8.0; it must be"),
        ({"a": -0.1}, ValueError, "a is -0.1; it must be 0 or more"),
        ({"a": math.nan}, ValueError, "a is nan"),
        ({"a": math.inf}, ValueError, "a is inf"),
        ({"b": -0.1}, ValueError, "b is -0.1; it must be 0 or more"),
        ({"b": math.nan}, ValueError, "b is nan"),
        ({"tau_mem": 0.99}, ValueError, "tau_mem is 0.99; it must be at least 1"),
        ({"tau_mem": math.nan}, ValueError, "tau_mem is nan"),
        ({"tau_mem": math.inf}, ValueError, "tau_mem is inf"),
        ({"tau_stdp": 0.0}, ValueError, "tau_stdp is 0.0; it must be above 0"),
        ({"tau_stdp": -3.0}, ValueError, "tau_stdp is -3.0"),
        ({"tau_stdp": math.nan}, ValueError, "tau_stdp is nan"),
        ({"offset": math.nan}, ValueError, "offset is nan"),
        ({"w_max": math.nan}, ValueError, "w_max is nan"),
        ({"mu": -1.0}, ValueError, "mu is -1.0; it must be 0 or more"),
        ({"mu": math.nan}, ValueError, "mu is nan"),
        ({"normalize": "l1"}, ValueError, "normalize is 'l1'; allowed are"),
        ({"normalize": True}, ValueError, "normalize is True; allowed are"),
        ({"compat": "paper"}, ValueError, "compat is 'paper'; allowed are"),
    ],
)
@pytest.mark.parametrize("rule", [sstdp, sstdp_with_potential])
def test_bad_arguments(rule, change, error, message):
    arguments = {
        "spike_time": torch.zeros(2, 3),
        "weight": torch.ones(4, 3),
        "v_th": 1.0,
        "t_max": 8,
    }
    with pytest.raises(error, match=message):
        rule(**(arguments | change))
