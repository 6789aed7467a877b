"""The table of rules, third-party rules, and the contract as a tool."""

from importlib.metadata import EntryPoint

import pytest
import torch

from snn_temporal_plugins import RULES, RuleInfo, get_rule, rules, stdbp
from snn_temporal_plugins.testing import check_layer, check_rule


@pytest.fixture
def installed(monkeypatch):
    """Pretend that other packages declare entry points."""

    def install(*entries):
        monkeypatch.setattr(rules, "entry_points", lambda group: entries)
        rules._third_party_rules.cache_clear()

    yield install
    rules._third_party_rules.cache_clear()


MINE = RuleInfo("mine", stdbp, "spike time", True, "nobody")


def test_table_is_read_only():
    with pytest.raises(TypeError):
        RULES["mine"] = MINE


def test_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match=r"'hebb'.*stdbp"):
        get_rule("hebb")


def test_third_party_rule_is_found(installed):
    installed(EntryPoint("mine", f"{__name__}:MINE", rules.GROUP))
    assert get_rule("mine").function is stdbp


def test_a_broken_plugin_warns_and_hides_nothing(installed):
    installed(
        EntryPoint("broken", "no_such_module:rule", rules.GROUP),
        EntryPoint("mine", f"{__name__}:MINE", rules.GROUP),
    )
    with pytest.warns(UserWarning, match="broken"):
        assert get_rule("mine").name == "mine"


def test_a_taken_name_is_an_error(installed):
    installed(EntryPoint("stdbp", f"{__name__}:MINE", rules.GROUP))
    assert get_rule("stdbp") is RULES["stdbp"]  # built-ins never ask the others
    with pytest.raises(ValueError, match="taken"):
        get_rule("other")


def wrong(change):
    return RuleInfo("wrong", change, "spike time", True, "nobody")


@pytest.mark.parametrize(
    ("rule", "clause"),
    [
        (lambda t, w, v: stdbp(t, w, v).t(), "shape"),
        (lambda t, w, v: stdbp(t, w, v).double(), "float32"),
        (lambda t, w, v: stdbp(t, w, v).nan_to_num(posinf=9), "silence"),
        (lambda t, w, v: stdbp(t, w, v) - t.nan_to_num(posinf=0).mean(), "each other"),
        (lambda t, w, v: stdbp(t, w, v, slope_clip=0.1), "exact"),
        (lambda t, w, v: stdbp(t, w, v) + w.sum() - w.sum().detach(), "silent|finite"),
    ],
)
def test_the_contract_finds_a_broken_rule(rule, clause):
    with pytest.raises(AssertionError, match=clause):
        check_rule(wrong(rule))


def test_the_contract_finds_a_broken_layer():
    class Late(torch.nn.Module):
        def forward(self, spike_time):
            return spike_time.clamp(max=1e9)

    with pytest.raises(AssertionError, match="silence"):
        check_layer(Late(), (3,))
