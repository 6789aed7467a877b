"""The mean effect of random trains: counted out, against tables, and its slope."""

import itertools

import numpy as np
import pytest
import torch

from snn_temporal_plugins.functional.effect_table import (
    effect_polynomials,
    mean_effect,
    polynomial_factors,
    side_factors,
)
from tests.golden import load
from tests.oracles import st_rsbp as oracle

POLY = load("strsbp/poly.json")
TABLES = load("strsbp/effect_tables_regenerated.json")["tables"]


def all_trains(steps, count, refractory):
    """Every train of so many spikes in 1..steps-1 that are far enough apart."""
    for at in itertools.combinations(range(1, steps), count):
        if all(b - a > refractory for a, b in itertools.pairwise(at)):
            train = np.zeros(steps)
            train[list(at)] = 1
            yield train


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
@pytest.mark.parametrize("steps", [2, 3, 5, 8])
@pytest.mark.parametrize("taus", [(1.0, 1.0), (4.0, 2.0), (20.0, 3.0)])
def test_the_mean_is_that_of_all_trains(taus, steps, refractory):
    constants = dict(zip(("tau_mem", "tau_syn"), taus, strict=True))
    effect = mean_effect(*taus, steps, refractory)
    counts = range(steps)
    trains = [list(all_trains(steps, count, refractory)) for count in counts]
    most = max(count for count in counts if trains[count])
    assert effect.shape == (most + 1, most + 1)
    for n, o in np.ndindex(effect.shape):
        pairs = [
            oracle.effect(pre, post, refractory=refractory, **constants)
            for pre, post in itertools.product(trains[n], trains[o])
        ]
        assert effect[n, o] == pytest.approx(np.mean(pairs), rel=1e-12, abs=1e-14)


def slopes(factors):
    """beta of all pairs of counts."""
    return (factors.by_input @ factors.by_output.T).numpy()


@pytest.mark.parametrize("table", TABLES, ids=lambda t: f"{t['tau_m']}-{t['T']}")
def test_the_fits_are_near_a_table_of_random_trains(table):
    constants = [table[key] for key in ("tau_m", "tau_s", "T", "t_ref")]
    ours = effect_polynomials(*constants).numpy()
    theirs = np.array(table["coef_high_to_low"])
    assert ours.shape == theirs.shape == (100, 5)
    count = np.arange(1, 101)
    a, b = (np.array([np.polyval(row, count) for row in c]) for c in (ours, theirs))
    assert 70 < a.max() < 80
    assert np.abs(a - b).max() < 0.5  # the noise of 400 random trains for each count
    assert np.sqrt(np.mean((a - b) ** 2)) < 0.1
    exact = mean_effect(*constants)[1:, 1:]
    assert np.abs(a - exact)[:, 4:].max() < 0.06 * exact.max()  # not so at 1 to 4


def test_a_polynomial_is_one_of_the_output_count():
    coefficients = torch.tensor(POLY["coef_high_to_low"], dtype=torch.float64)
    assert coefficients.shape == (POLY["table_rows"], 5)
    factors = polynomial_factors(coefficients, POLY["T"])
    assert len(factors.by_output) == POLY["T"] + 1
    beta = slopes(factors)
    for check in POLY["checks"]:
        n = min(check["o_in"], POLY["table_rows"])
        assert beta[n, check["o_out"]] == pytest.approx(check["de_do_out"], rel=1e-9)
    truth = oracle.polynomial_slope(np.array(POLY["coef_high_to_low"]))
    for n, o in np.ndindex(beta.shape):
        assert beta[n, o] == pytest.approx(truth(n, o), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("constants", [(64.0, 8.0, 400, 2), (20.0, 4.0, 40, 0)])
def test_direct_is_the_central_difference(constants):
    effect, beta = mean_effect(*constants), slopes(side_factors(*constants, "direct"))
    assert beta.shape == effect.shape
    inner = (effect[1:, 3:] - effect[1:, 1:-2]) / 2
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(beta[1:, 2:-1], inner, **close)
    np.testing.assert_allclose(beta[1:, 1], effect[1:, 2] - effect[1:, 1], **close)
    np.testing.assert_allclose(beta[1:, -1], effect[1:, -1] - effect[1:, -2], **close)
    np.testing.assert_allclose(beta[0], beta[1], **close)  # silence counts as 1
    np.testing.assert_allclose(beta[:, 0], beta[:, 1], **close)


def test_both_sides_are_near_each_other_from_ten_output_spikes_on():
    constants = (64.0, 8.0, 400, 2)
    fitted, direct = (
        slopes(side_factors(*constants, side)) for side in ("polynomial", "direct")
    )
    off = np.abs(fitted[:, :101] - direct) / direct.max()
    assert off[:, 10:91].max() < 0.05
    assert 0.4 < off[100, 1] < 0.6  # at one, a fit of degree 4 has half the slope


@pytest.mark.parametrize("steps", range(2, 9))
@pytest.mark.parametrize("side", ["polynomial", "direct"])
def test_short_windows_have_tables_too(steps, side):
    factors = side_factors(10.0, 3.0, steps, 2, side)
    assert all(table.dtype == torch.float64 for table in factors)
    beta = slopes(factors)
    assert np.isfinite(beta).all()
    most = (steps + 1) // 3
    effect = mean_effect(10.0, 3.0, steps, 2)
    assert len(effect) == len(factors.by_input) == most + 1
    if most in (2, 3) and side == "polynomial":  # the fit passes through all
        fits = effect_polynomials(10.0, 3.0, steps, 2).numpy()
        count = np.arange(1, most + 1)
        values = [np.polyval(row, count) for row in fits]
        np.testing.assert_allclose(values, effect[1:, 1:], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_long_windows_have_tables_too():
    """C(50000, 100) is beyond float64; spikes so rare hardly see each other."""
    effect = mean_effect(64.0, 8.0, 50_000)
    assert np.isfinite(effect).all() and (effect[1:, 1:] > 0).all()
    count = np.arange(101)
    near = effect[1, 1] * count[:, None] * count
    np.testing.assert_allclose(effect[1:, 1:], near[1:, 1:], rtol=0.15)


def test_tables_are_kept_and_safe():
    effect = mean_effect(64.0, 8.0, 50)
    assert mean_effect(64.0, 8.0, 50) is effect
    with pytest.raises(ValueError, match="read-only"):
        effect[1, 1] = 0
    assert not effect[0].any() and not effect[:, 0].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_effect(64.0, 8.0, 1), "num_steps is 1; at least 2"),
        (lambda: side_factors(64.0, 8.0, 50, 2, "fit"), "'fit'; allowed are 'poly"),
        (lambda: polynomial_factors(torch.ones(5), 9), r"\(5,\).*counts, 5\)"),
        (lambda: polynomial_factors(torch.ones(3, 4), 9), r"\(3, 4\).*counts, 5\)"),
        (lambda: polynomial_factors(torch.ones(0, 5), 9), r"\(0, 5\).*counts, 5\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
