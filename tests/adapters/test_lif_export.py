"""A host's own NIR export of LIF layers; tests/export runs what comes out."""

import norse.torch as nt
import pytest
import snntorch as snn
import torch
from snntorch import export_nir
from torch import nn

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from snn_temporal_plugins.export import ExportError
from tests.adapters.lif_hosts import HOSTS


def export(host, *layers, sample):
    with host.register():
        if host is tsnn:
            return export_nir.export_to_nir(nn.Sequential(*layers), sample)
        return nt.to_nir(nt.SequentialState(*layers), sample)


def kinds(graph):
    return [type(node).__name__ for node in graph.nodes.values()]


@HOSTS
@pytest.mark.parametrize("num_steps", [None, 5])
def test_a_convolutional_net_is_exported(host, num_steps):
    options = {} if host is tnorse else {"output": False}
    graph = export(
        host,
        host.LIFConv2d(1, 2, 3, num_steps=num_steps, **options),
        host.PSPPool2d(2),
        host.PSPDropout(0.2),
        nn.Flatten(2),
        host.LIFLinear(18, 3, graded=True),
        *([tnorse.PSPFilter()] if host is tnorse else []),  # a readout is not in NIR
        sample=torch.zeros(1, 1, 8, 8) if num_steps else torch.zeros(5, 1, 1, 8, 8),
    )
    assert sorted(kinds(graph)) == sorted(
        ["Input", "Conv2d", "CubaLIF", "SumPool2d", "Flatten", "Linear", "CubaLIF",
         "Output"]
    )  # fmt: skip
    assert graph.metadata.get("num_steps") == num_steps
    assert tuple(graph.nodes["input"].input_type["input"]) == (1, 8, 8)


@HOSTS
def test_what_nir_cannot_say_is_refused(host):
    stock = nt.LIF() if host is tnorse else snn.Leaky(beta=0.9, init_hidden=True)
    sample = torch.zeros(5, 1, 4)
    with pytest.raises(ExportError, match="cannot be exported"):
        export(host, host.LIFLinear(4, 4), nn.Linear(4, 4), stock, sample=sample)
    with pytest.raises(ExportError, match="cannot be exported"):
        export(host, host.LIFLinear(4, 4), host.ReLPSPLinear(4, 4), sample=sample)
