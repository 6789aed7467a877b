"""First spikes against SpikingJelly's SRM: the same neuron, written by others."""

import math

import pytest
import torch

from snn_temporal_plugins import stdbp


@pytest.mark.parametrize("seed", range(3))
def test_first_spikes_equal_spikingjelly(seed):
    pytest.importorskip(
        "loguru", reason="pip install --no-deps spikingjelly==2.0.0 loguru"
    )
    neuron = pytest.importorskip(
        "spikingjelly.timing_based.neuron",
        reason="pip install --no-deps spikingjelly==2.0.0 loguru",
    )
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(6, 20, generator=g, dtype=torch.float64)
    time[torch.rand(6, 20, generator=g) < 0.3] = math.inf
    weight = torch.randn(9, 20, generator=g, dtype=torch.float64)
    srm = neuron.SRM(20, 9, duration=3.0, max_spikes=512).double()
    srm.weight = torch.nn.Parameter(weight)
    sample, index = time.isfinite().nonzero(as_tuple=True)
    offsets = torch.searchsorted(sample, torch.arange(7))
    events, where, edges = srm(time[sample, index], index, offsets)
    batch = torch.repeat_interleave(torch.arange(6), edges.diff())
    first = torch.full((54,), math.inf, dtype=torch.float64)
    first = first.scatter_reduce(0, batch * 9 + where, events.detach(), "amin")
    ours = stdbp(time, weight, 1.0, t_max=3.0)
    torch.testing.assert_close(ours, first.reshape(6, 9), rtol=1e-12, atol=1e-12)
