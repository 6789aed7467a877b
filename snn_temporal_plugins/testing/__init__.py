"""The contract of rules and layers, as code: run it on a plugin of your own.

    from snn_temporal_plugins.testing import check_rule
    check_rule(RuleInfo("mine", my_rule, "spike time", True, "my paper"))

Each check raises `AssertionError` that names the broken clause and shows the values.
"""

from snn_temporal_plugins.rules import RuleInfo
from snn_temporal_plugins.testing.clauses import require_domain
from snn_temporal_plugins.testing.layers import check_layer
from snn_temporal_plugins.testing.spike_time import check_spike_time_rule
from snn_temporal_plugins.testing.spike_train import check_spike_train_rule
from snn_temporal_plugins.testing.synapses import check_synapse_rule


def check_rule(info: RuleInfo, *, seed: int = 0) -> None:
    """Check a rule against the contract of the house.

    A rule on spike times is called as `rule(spike_time, weight, v_th)` with spike times
    (batch, in), weights (out, in) and v_th = 1. Checked are: shape and dtype are kept;
    results are deterministic and do not depend on memory layout or on the other
    samples; silence in gives silence out; an empty batch works; no NaN appears in times
    or gradients; the gradient of silent inputs and through silent outputs is exactly 0.
    With `info.response` "step" times are whole ticks, and a law may pass an error on
    through silent outputs to wake them.

    A rule on spike trains with `info.takes` "current" is called as `rule(current,
    tau_mem=5.0, tau_syn=3.0, v_th=1.0)` with currents (time, batch, neuron). Checked
    are: shape and dtype are kept; results and gradients are deterministic and do not
    depend on memory layout or on the other samples; nothing depends on the future, and
    the gradient of a current on the errors of its own and later steps alone; zero
    current gives zero output; one step and an empty batch work; no NaN or infinity
    appears. If `info.window` is given, two windows with the state handed over give the
    very spikes and outputs of one, and both functions agree.

    A rule on spike trains with `info.takes` "spikes" is called as `rule(spikes, weight,
    recurrent_weight, tau_mem=5.0, tau_syn=3.0, v_th=1.0)` with spikes (time, batch,
    in), weights (out, in), and recurrent weights (out, out) or none. Checked are: the
    output is (time, batch, out), 0 or 1, in the dtype of the input; results and
    gradients are deterministic and do not depend on memory layout or on the other
    samples; a spike acts one step later at the earliest; silence in gives silence out;
    a recurrent weight of 0 is no connection; one step and an empty batch work;
    gradients are finite and not zero throughout, and those of weights are sums over
    samples. `info.window`, if given, is called as `window(spikes, weight,
    recurrent_weight, state, ...)` and continues as above.

    A rule that claims the exact gradient must pass `torch.autograd.gradcheck` in
    float64; one that takes spikes cannot claim it.

    Args:
        info: Description of the rule.
        seed: Seed of the random problems.

    Raises:
        AssertionError: a clause is broken.
        ValueError: the description names no domain of the house.
    """
    require_domain(info.domain)
    if info.domain == "spike time":
        check_spike_time_rule(info, seed)
    elif info.takes == "spikes":
        check_synapse_rule(info, seed)
    else:
        check_spike_train_rule(info, seed)


__all__ = ["check_layer", "check_rule"]
