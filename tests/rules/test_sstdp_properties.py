"""SSTDP: what must hold for any weights, times and errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.rules.sstdp import _deliver, sstdp, sstdp_with_potential
from tests.rules.test_sstdp import gradients, problem

T = 9
SETTINGS = {"a": 0.8, "b": 0.2, "t_max": T}
WINDOWS = (
    {},
    {"tau_stdp": 3.0},
    {"tau_stdp": 3.0, "offset": 0.2, "w_max": 2.0, "mu": 0.5},
    {"compat": "released"},
    {"compat": "released", "tau_stdp": 3.0, "tau_mem": 3.0},
)
seeds = given(seed=st.integers(0, 2**16))
windows = pytest.mark.parametrize("window", WINDOWS, ids=str)


@windows
@seeds
def test_times_are_ticks_and_potentials_above_threshold(window, seed):
    time, weight, _ = problem(seed=seed)
    post, potential = sstdp_with_potential(time, weight, 0.7, **SETTINGS, **window)
    fired = post < math.inf
    last = T - 3 if window.get("compat") else T - 1
    assert set(post[fired].tolist()) <= set(range(last + 1))
    assert (potential[fired] > 0.7).all() and not potential[~fired].any()
    assert post.requires_grad and not potential.requires_grad
    again = sstdp_with_potential(time, weight, 0.7, **SETTINGS, **window)
    assert torch.equal(post, again[0]) and torch.equal(potential, again[1])
    assert torch.equal(post, sstdp(time, weight, 0.7, **SETTINGS, **window))


@seeds
def test_a_larger_weight_never_delays(seed):
    time, weight, _ = problem(seed=seed)
    larger = weight + problem(seed=seed + 1)[1].abs()
    before = sstdp(time, weight, 0.7, t_max=T)
    assert (sstdp(time, larger, 0.7, t_max=T) <= before).all()


@seeds
def test_a_later_input_of_positive_weight_never_advances(seed):
    time, weight, _ = problem(seed=seed)
    before = sstdp(time, weight.abs(), 0.7, t_max=2 * T)
    later = torch.randint(T, time.shape, generator=torch.Generator().manual_seed(seed))
    assert (sstdp(time + later, weight.abs(), 0.7, t_max=2 * T) >= before).all()


@pytest.mark.parametrize("tau_mem", [None, 2.5])
@seeds
def test_weights_and_threshold_scale_together(tau_mem, seed):
    time, weight, _ = problem(seed=seed, dyadic=False)
    settings = {"t_max": T, "tau_mem": tau_mem}
    post = sstdp(time, weight, 0.7, **settings)
    assert torch.equal(post, sstdp(time, 2 * weight, 1.4, **settings))
    per_output = torch.full((5,), 0.7, dtype=torch.float64)
    for v_th in (per_output, per_output[0]):
        assert torch.equal(post, sstdp(time, weight, v_th, **settings))


@windows
@seeds
def test_the_size_of_the_error_does_not_matter(window, seed):
    time, weight, error = problem(seed=seed)
    error[1] = 0
    kept = error.clone()
    post = sstdp(time, weight, 0.7, **SETTINGS, **window)
    ours = gradients(post, time, weight, error)
    assert torch.equal(error, kept)  # not normalised in place
    scale = torch.tensor([1e-3, 1.0, 1e3, 1e6], dtype=torch.float64)[:, None]
    scaled = gradients(post, time, weight, error * scale)
    torch.testing.assert_close(ours, scaled, rtol=1e-6, atol=1e-7)
    assert not ours[0][1].any()  # no error, no contribution, but still in the mean
    others = [0, 2, 3]
    part = time.detach()[others].requires_grad_()
    post = sstdp(part, weight, 0.7, **SETTINGS, **window)
    theirs = gradients(post, part, weight, error[others])
    torch.testing.assert_close(ours[1], theirs[1] * 3 / 4, rtol=1e-12, atol=1e-12)


@windows
@pytest.mark.parametrize("normalize", ["l2", None])
@seeds
def test_a_batch_learns_the_mean_of_its_samples(window, normalize, seed):
    time, weight, error = problem(places=(3,), seed=seed)
    settings = SETTINGS | window | {"normalize": normalize}
    post = sstdp(time, weight, 0.7, **settings)
    whole = gradients(post, time, weight, error)
    alone = []
    for b in range(4):
        one = time.detach()[b : b + 1].requires_grad_()
        post = sstdp(one, weight, 0.7, **settings)
        alone.append(gradients(post, one, weight, error[b : b + 1]))
    close = {"rtol": 1e-12, "atol": 1e-12}
    mean = torch.stack([x[1] for x in alone]).mean(0)
    torch.testing.assert_close(whole[1], mean, **close)
    torch.testing.assert_close(whole[0], torch.cat([x[0] for x in alone]), **close)


@windows
def test_silence_gives_finite_gradients(window):
    time, weight, error = problem()
    silent = torch.full_like(time, math.inf).requires_grad_()
    post = sstdp(silent, weight, 0.7, **SETTINGS, **window)
    assert (post == math.inf).all()
    grad_time, grad_weight = gradients(post, silent, weight, error)
    assert grad_weight.isfinite().all() and not grad_time.any()
    mute = sstdp(time, weight, 1e6, **SETTINGS, **window)
    assert all(x.isfinite().all() for x in gradients(mute, time, weight, error))


@pytest.mark.parametrize("window", [x for x in WINDOWS if "offset" not in x], ids=str)
def test_a_late_label_is_strengthened_even_if_it_never_fired(window):
    time = torch.tensor([[1.0, 4.0, math.inf]])
    weight = torch.full((1, 3), 0.1, requires_grad=True)
    post = sstdp(time, weight, 1.0, **SETTINGS, **window)
    assert post.item() == math.inf
    (grad,) = torch.autograd.grad(post, weight, torch.ones_like(post))
    assert (grad[0, :2] < 0).all() and grad[0, 2] >= 0


@windows
def test_only_what_is_asked_for(window):
    time, weight, error = problem()
    post = sstdp(time, weight, 0.7, **SETTINGS, **window)
    both = gradients(post, time, weight, error)
    for x, grad, post in (
        (time, both[0], sstdp(time, weight.detach(), 0.7, **SETTINGS, **window)),
        (weight, both[1], sstdp(time.detach(), weight, 0.7, **SETTINGS, **window)),
    ):
        assert torch.equal(torch.autograd.grad(post, x, error)[0], grad)
    assert not sstdp(time.detach(), weight.detach(), 0.7, t_max=T).requires_grad
    post = sstdp(time, weight, 0.7, **SETTINGS, **window)
    post.sum().backward()  # an expanded gradient
    assert weight.grad.any()


def test_layout_changes_nothing():
    time, weight, error = (x.detach() for x in problem(places=(2, 3)))
    results = []
    for change in (
        torch.Tensor.clone,
        lambda x: torch.stack([x, x], -1)[..., 0],
        lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    ):
        t, w = (change(x).requires_grad_() for x in (time, weight))
        post = sstdp(t, w, 0.7, **SETTINGS)
        results.append((post, *gradients(post, t, w, change(error))))
    for other in results[1:]:
        assert torch.equal(other[0], results[0][0])
        # the norm of the error is summed in another order
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@windows
def test_threads_change_nothing(window):
    time, weight, error = problem(64, 300, 200)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            post = sstdp(time, weight, 9.0, **SETTINGS, **window)
            results.append((post, *gradients(post, time, weight, error)))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *results))


def test_opcheck_of_the_delivery():
    time = problem(places=(2,))[0].detach()
    for x in (time, time.transpose(0, 2), time.half()):
        torch.library.opcheck(_deliver, (x, T, T - 2))


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@windows
def test_compiles_in_one_graph(window):
    time, weight, error = problem(places=(2,))

    def both(t, w):
        return sstdp_with_potential(t, w, 0.7, **SETTINGS, **window)

    results = []
    for run in (both, torch.compile(both, fullgraph=True)):
        post, potential = run(time, weight)
        results.append((post, potential, gradients(post, time, weight, error)))
    torch.testing.assert_close(*results)
