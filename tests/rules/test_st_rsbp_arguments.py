"""ST-RSBP refuses what it cannot run, and says what is allowed."""

import math

import pytest
import torch

from snn_temporal_plugins.neurons import LIFConv2d, LIFLinear
from snn_temporal_plugins.rules import SpikeTrainState, st_rsbp, st_rsbp_window

IMAGES = torch.zeros(4, 2, 3, 5, 5)
KERNEL = torch.ones(6, 3, 3, 3)
OWN = torch.ones(6, 6)
STATE = SpikeTrainState(torch.zeros(4, 2, 6), torch.zeros(2, 3))


def spikes(value, step=1):
    x = torch.zeros(4, 2, 3)
    x[step, 1, 2] = value
    return {"spikes": x}


def image(value):
    x = IMAGES.clone()
    x[1, 1, 2, 3, 3] = value
    return {"spikes": x, "weight": KERNEL}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (spikes(0.5), ValueError, "other values than 0 and 1.*rate_encode"),
        (spikes(-1.0), ValueError, "other values than 0 and 1"),
        (spikes(math.nan, 3), ValueError, "other values than 0 and 1"),
        (image(0.5), ValueError, "other values than 0 and 1"),
        (image(math.nan), ValueError, "other values than 0 and 1"),
        ({"spikes": [[1.0]]}, TypeError, "spikes is list"),
        ({"spikes": torch.ones(4, 2, 3).long()}, TypeError, "spikes is torch.int64"),
        ({"spikes": torch.ones(4)}, ValueError, r"\(4,\).*\(time, batch, ...\)"),
        ({"spikes": torch.ones(0, 2, 3)}, ValueError, "at least one step"),
        ({"spikes": torch.ones(4, 2, 4)}, ValueError, r"3 inputs.*\(time, batch, 3\)"),
        ({"spikes": torch.ones(4, 2, 3, 1)}, ValueError, "3 inputs"),
        ({"spikes": torch.ones(4, 2, 3).double()}, TypeError, "float32.*float64.*to"),
        ({"weight": None}, TypeError, "weight is NoneType"),
        ({"weight": torch.ones(6, 3).int()}, TypeError, "weight is torch.int32"),
        ({"weight": torch.ones(3)}, ValueError, r"weight has shape \(3,\).*\(out, in"),
        ({"weight": torch.ones(0, 3)}, ValueError, r"\(0, 3\); every size"),
        (
            {"weight": torch.ones(6, 0), "spikes": torch.ones(4, 2, 0)},
            ValueError,
            r"\(6, 0\); every size",
        ),
        (
            {"weight": torch.full((6, 3), math.nan), **spikes(1.0)},
            ValueError,
            "NaN or inf",
        ),
        ({"weight": KERNEL}, ValueError, r"takes 3 maps.*\(time, batch, 3, height"),
        (
            {"weight": KERNEL, "spikes": IMAGES[:, :, :2]},
            ValueError,
            r"\(4, 2, 2, 5, 5\).*3 maps",
        ),
        (
            {"weight": torch.ones(6, 3, 8, 8), "spikes": IMAGES, "padding": 1},
            ValueError,
            r"\(5, 5\) with padding 1 is smaller.*\(8, 8\)",
        ),
        ({"recurrent_weight": OWN[:5]}, ValueError, r"\(5, 6\).*\(out, out\)"),
        ({"recurrent_weight": OWN.double()}, TypeError, "recurrent_weight is torch.fl"),
        ({"recurrent_weight": 1.0}, TypeError, "recurrent_weight is float"),
        (
            {"recurrent_weight": OWN, "weight": KERNEL, "spikes": IMAGES},
            ValueError,
            "of a dense layer",
        ),
        (
            {"recurrent_weight": OWN, "lateral": 1.0},
            ValueError,
            "lateral is 1.0. Leave",
        ),
        (
            {"lateral": 1.0, "weight": KERNEL, "spikes": IMAGES},
            ValueError,
            "dense output layers",
        ),
        ({"lateral": -1.0}, ValueError, "lateral is -1.0; it must be 0 or more"),
        ({"lateral": math.nan}, ValueError, "lateral is nan"),
        ({"v_th": 0.0}, ValueError, "v_th is 0.0; it must be above 1e-6"),
        ({"v_th": 1e-6}, ValueError, "v_th is 1e-06"),
        ({"v_th": math.nan}, ValueError, "v_th is nan"),
        ({"v_th": math.inf}, ValueError, "v_th is inf"),
        ({"tau_mem": 0.99}, ValueError, "tau_mem is 0.99.*at least 1"),
        ({"tau_mem": math.inf}, ValueError, "tau_mem is inf"),
        ({"tau_syn": 0.0}, ValueError, "tau_syn is 0.0.*at least 1"),
        ({"refractory": -1}, ValueError, "refractory is -1; it must be 0 or more"),
        ({"refractory": 1.5}, ValueError, "refractory is 1.5; it must be.*whole"),
        ({"side": "exact"}, ValueError, "'exact'; allowed are 'polynomial' and 'dir"),
        ({"solver": "qr"}, ValueError, "'qr'; it must be 'math' or 'original'"),
        ({"polynomials": torch.ones(4, 4)}, ValueError, r"\(4, 4\).*counts, 5\)"),
        ({"polynomials": torch.ones(0, 5)}, ValueError, r"\(0, 5\).*counts, 5\)"),
        ({"stride": 0}, ValueError, "stride is 0; it must be.*1 or more"),
        ({"padding": -1}, ValueError, "padding is -1; it must be.*0 or more"),
        ({"desired_count": 0}, ValueError, "desired_count is 0; it must be 1 or more"),
        ({"desired_count": 2.5}, ValueError, "desired_count is 2.5"),
        ({"label": torch.zeros(3).long()}, ValueError, r"\(3,\).*indices \(2,\)"),
        ({"label": torch.tensor([0, 6])}, ValueError, "0 to 6; allowed are 0 to 5"),
        ({"label": torch.tensor([-1, 0])}, ValueError, "-1 to 0; allowed are 0 to 5"),
        ({"label": torch.zeros(2)}, TypeError, "label is torch.float32.*int64"),
        (
            {"label": torch.zeros(2).long(), "weight": KERNEL, "spikes": IMAGES},
            ValueError,
            "output layer is dense",
        ),
        ({"state": torch.zeros(2, 6)}, TypeError, "state is Tensor.*SpikeTrainState"),
        ({"state": (STATE.neurons, None)}, TypeError, "state.last_input is NoneType"),
        (
            {"state": STATE._replace(neurons=torch.zeros(4, 2, 5))},
            ValueError,
            r"state.neurons .*\(4, 2, 5\).*\(4, 2, 6\)",
        ),
        (
            {"state": STATE._replace(last_input=torch.zeros(2, 4))},
            ValueError,
            "state.last_input",
        ),
        (
            {"state": STATE._replace(neurons=STATE.neurons.double())},
            ValueError,
            "float64.*float32",
        ),
        (
            {"state": STATE._replace(neurons=STATE.neurons.to("meta"))},
            ValueError,
            "meta",
        ),
        (
            {"state": STATE._replace(neurons=STATE.neurons * math.nan)},
            ValueError,
            "state holds NaN",
        ),
        (
            {"state": STATE._replace(last_input=STATE.last_input + 0.5)},
            ValueError,
            "other values than 0 and 1",
        ),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"spikes": torch.zeros(4, 2, 3), "weight": torch.ones(6, 3)} | change
    with pytest.raises(error, match=message):
        st_rsbp_window(**arguments)
    if "state" not in change:
        with pytest.raises(error, match=message):
            st_rsbp(**arguments)


@pytest.mark.parametrize("layer", [LIFLinear, LIFConv2d])
def test_layers_of_currents_refuse_the_rule(layer):
    sizes = (3, 2) if layer is LIFLinear else (3, 2, 3)
    with pytest.raises(ValueError, match=r"'st_rsbp' takes spikes.*SpikeTrainLinear"):
        layer(*sizes, rule="st_rsbp")
