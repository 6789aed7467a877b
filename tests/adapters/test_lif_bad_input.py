"""LIF layers on windows: every wrong input is named, in both hosts."""

import norse.torch as nt
import pytest
import torch

from snn_temporal_plugins import rules
from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.lif_hosts import HOSTS, dense, events, run

T = 10


@HOSTS
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(0.5 * events(T, 2, 6)), ValueError, r"holds 0\.5.*graded=True"),
        (lambda f: f(torch.nan * events(T, 2, 6)), ValueError, "holds nan"),
        (lambda f: f(events(T, 2, 6).int()), TypeError, "int32"),
        (lambda f: f(events(0, 2, 6)), ValueError, "at least one step"),
        (lambda f: f(events(2, 6)), ValueError, r"\(batch, 6\).*Time comes first"),
        (lambda f: f(events(T, 2, 5)), ValueError, r"\(batch, 6\)"),
        (lambda f: f(events(T, 2, 6), "rest"), TypeError, "state is a str"),
        (
            lambda f: f(events(T, 3, 6), run(f, events(T, 2, 6))[1]),
            ValueError,
            r"\(2, 6\).*\(3, 6\).*reset_mem\(\)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(host, call, error, message):
    with pytest.raises(error, match=message):
        call(dense(host, (6, 5)).double())


@HOSTS
@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        ({"method": "nonsense"}, ValueError, "nonsense.*tssl_bp"),
        ({"method": "stdbp"}, ValueError, "spike trains"),
        ({"tau_syn": 0.5}, ValueError, "tau_syn is 0.5"),
        ({"method_options": {"alhpa": 1.0}}, TypeError, "alhpa"),
    ],
)
def test_bad_arguments_are_named(host, p, error, message):
    with pytest.raises(error, match=message):
        dense(host, (6, 5), p)


@HOSTS
def test_a_rule_that_gives_no_spikes_is_refused(host, monkeypatch):
    info = rules.RuleInfo("other", rules.tssl_bp, "spike train", False, "none")
    monkeypatch.setattr(rules, "RULES", {**rules.RULES, "other": info})
    with pytest.raises(ValueError, match=r"'other'.*`window`"):
        dense(host, (6, 5), {"method": "other"})


def test_words_of_the_hosts_are_checked():
    with pytest.raises(ValueError, match=r"reset_mechanism='none'.*'zero'"):
        tsnn.LIFLinear(6, 5, reset_mechanism="none")
    with pytest.raises(TypeError, match=r"LIFParameters.*LIFWindowParameters.*steps"):
        tnorse.LIFLinear(6, 5, nt.LIFParameters())


@HOSTS
def test_a_graded_layer_takes_any_weight_but_no_nan(host):
    layer = dense(host, (6, 5), graded=True)
    assert run(layer, 2.2 * events(T, 2, 6).float())[0].sum() >= 0
    with pytest.raises(ValueError, match="NaN"):
        layer(torch.full((T, 2, 6), torch.nan))
