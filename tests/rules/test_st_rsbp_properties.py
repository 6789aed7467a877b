"""ST-RSBP: sums over samples and time, windows, limits, what learns and what not."""

import pytest
import torch

from snn_temporal_plugins.functional.effect_table import effect_polynomials
from snn_temporal_plugins.kernels import synaptic_effect
from snn_temporal_plugins.rules import st_rsbp, st_rsbp_window

DTYPES = (torch.float32, torch.float64)
SETTINGS = {"v_th": 0.6, "tau_mem": 20.0, "tau_syn": 4.0}
KINDS = ("dense", "recurrent", "lateral", "labelled", "conv")


def net(kind, *, steps=40, batch=5, seed=0, dtype=torch.float64):
    """Leaves and settings of a layer of some kind, and the gradient of its counts."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    settings = dict(SETTINGS)
    shape, weight = (7,), normal(4, 7) + 0.3
    if kind == "conv":
        shape, weight = (2, 5, 6), normal(3, 2, 3, 3) + 0.3
        settings |= {"stride": 2, "padding": 1}
    x = torch.rand(steps, batch, *shape, generator=g) < 0.2
    x[:, 0] = False  # a silent sample
    leaves = [x.to(dtype), weight]
    if kind == "recurrent":
        leaves.append(normal(4, 4) * (normal(4, 4) > -0.5))
    if kind in ("lateral", "labelled"):
        settings |= {"lateral": 0.9, "desired_count": 6}
    if kind == "labelled":
        settings["label"] = torch.arange(batch) % 4
    leaves = [leaf.requires_grad_() for leaf in leaves]
    size = st_rsbp(*leaves, **settings).shape[1:]
    return leaves, settings, normal(*size)


def part(leaves, settings, samples):
    """The same net with some of its samples."""
    leaves = [leaves[0][:, samples].detach().requires_grad_(), *leaves[1:]]
    if "label" in settings:
        settings = settings | {"label": settings["label"][samples]}
    return leaves, settings


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_batch_is_the_sum_over_its_samples(kind, dtype):
    leaves, settings, error = net(kind, dtype=dtype)
    spikes = st_rsbp(*leaves, **settings)
    assert spikes.dtype == dtype and 0 < spikes.sum() < spikes.numel()
    grad_x, *grads = torch.autograd.grad(spikes.sum(0), leaves, error)
    total = [torch.zeros_like(grad) for grad in grads]
    close = 1e-11 if dtype == torch.float64 else 1e-3
    for b in range(len(error)):
        alone, its = part(leaves, settings, slice(b, b + 1))
        out = st_rsbp(*alone, **its)
        assert torch.equal(out, spikes[:, b : b + 1])
        of_x, *parts = torch.autograd.grad(out.sum(0), alone, error[b : b + 1])
        torch.testing.assert_close(of_x, grad_x[:, b : b + 1], rtol=close, atol=close)
        total = [a + b for a, b in zip(total, parts, strict=True)]
    torch.testing.assert_close(total, list(grads), rtol=close, atol=close)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_averaged_over_time(kind):
    leaves, settings, error = net(kind)
    spikes = st_rsbp(*leaves, **settings)
    steps = len(spikes)

    def grads(of_spikes):
        return torch.autograd.grad(spikes, leaves, of_spikes, retain_graph=True)

    truth = grads(error.expand(steps, *error.shape))  # strides of 0, as of a sum
    g = torch.Generator().manual_seed(1)
    change = torch.randn(spikes.shape, generator=g, dtype=torch.float64)
    for of_spikes in (
        error.expand(steps, *error.shape).clone(),
        error.mT.contiguous().mT.expand(steps, *error.shape),
        error + change - change.mean(0),
        steps * error * (torch.arange(steps) == 3).view(-1, *[1] * error.dim()),
    ):
        torch.testing.assert_close(grads(of_spikes), truth, rtol=1e-9, atol=1e-9)
    ones = torch.ones_like(error)
    by_sum = torch.autograd.grad(spikes.sum(), leaves, retain_graph=True)
    torch.testing.assert_close(by_sum, grads(ones.expand(steps, *ones.shape)))
    assert (truth[0] == truth[0][0]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("refractory", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_two_windows_are_one(kind, refractory, dtype):
    leaves, settings, _ = net(kind, dtype=dtype)
    settings["refractory"] = refractory
    x, weight, recurrent = (*leaves, None)[:3]
    whole = st_rsbp_window(x, weight, recurrent, **settings)
    for cut in (1, 13, 39):
        first = st_rsbp_window(x[:cut], weight, recurrent, **settings)
        second = st_rsbp_window(x[cut:], weight, recurrent, first.state, **settings)
        spikes = torch.cat([first.spikes, second.spikes])
        assert torch.equal(spikes, whole.spikes)
        torch.testing.assert_close(first.activity + second.activity, whole.activity)
        assert all(map(torch.equal, second.state, whole.state))
    assert not any(part.requires_grad for part in (whole.activity, *whole.state))
    assert whole.activity.shape == whole.spikes.shape[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_leaf_may_learn_alone(kind):
    leaves, settings, error = net(kind)
    truth = torch.autograd.grad(st_rsbp(*leaves, **settings).sum(0), leaves, error)
    for k, leaf in enumerate(leaves):
        others = [other.detach() for other in leaves]
        others[k] = leaf
        spikes = st_rsbp(*others, **settings)
        (grad,) = torch.autograd.grad(spikes.sum(0), leaf, error)
        torch.testing.assert_close(grad, truth[k])


@pytest.mark.parametrize("kind", KINDS)
def test_samples_without_an_error_learn_nothing(kind):
    leaves, settings, error = net(kind)
    error[::2] = 0
    grads = torch.autograd.grad(st_rsbp(*leaves, **settings).sum(0), leaves, error)
    assert not grads[0][:, ::2].any()
    alone, its = part(leaves, settings, slice(1, None, 2))
    truth = torch.autograd.grad(st_rsbp(*alone, **its).sum(0), alone, error[1::2])
    torch.testing.assert_close(grads[0][:, 1::2], truth[0])
    torch.testing.assert_close(grads[1:], truth[1:])
    none = torch.autograd.grad(st_rsbp(*leaves, **settings).sum(0), leaves, 0 * error)
    assert not any(grad.any() for grad in none)


def test_connections_that_do_not_exist_do_not_learn():
    leaves, settings, error = net("recurrent")
    missing = leaves[2] == 0
    assert 0 < missing.sum() < missing.numel()
    grads = torch.autograd.grad(st_rsbp(*leaves, **settings).sum(0), leaves, error)
    assert not grads[2][missing].any() and grads[2].any()


@pytest.mark.parametrize("size", [5e-5, -5e-5, 0.0])
def test_s_is_kept_away_from_zero_where_there_are_recurrent_weights(size):
    x = torch.zeros(9, 1, 1, dtype=torch.float64)
    x[[0, 3]] = 1
    weight = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([[0, 0, 0, 1 - size, 0]], dtype=torch.float64)
    settings = {"v_th": 1.0, "tau_mem": 2.0, "tau_syn": 1.0, "polynomials": slope}
    for recurrent, s in (
        (None, size),
        (torch.zeros(1, 1, dtype=torch.float64), -1e-4 if size < 0 else 1e-4),
    ):
        if not s:
            continue
        spikes = st_rsbp(x, weight, recurrent, **settings)
        assert spikes.flatten().nonzero().flatten().tolist() == [1, 4]
        (grad,) = torch.autograd.grad(spikes.sum(), weight)
        effect = synaptic_effect(x, spikes.detach(), 2.0, 1.0, 2).item()
        assert grad.item() == pytest.approx(effect / s, rel=1e-9)


def test_a_lateral_factor_that_would_be_infinite_is_not():
    """A silent label between four that fire: 1 - 4 * 0.5^2 = 0 at v_th = 1."""
    x = torch.ones(12, 1, 2)
    weight = torch.full((5, 2), 3.0)
    weight[0] = -3.0
    weight.requires_grad_()
    settings = {"v_th": 1.0, "lateral": 1.0, "desired_count": 4}
    spikes = st_rsbp(x, weight, label=torch.tensor([0]), **settings)
    fires = spikes.sum(0)[0] > 0
    assert fires.tolist() == [False, True, True, True, True]
    for loss in (spikes.sum(0)[0, 1:].sum(), spikes.sum()):
        (grad,) = torch.autograd.grad(loss, weight, retain_graph=True)
        assert grad.isfinite().all() and grad.any()


def test_the_label_matters_to_the_gradient_alone():
    leaves, settings, error = net("labelled", batch=2)
    leaves[1].data[1] = -1  # the label of the second sample is silent
    without = {key: settings[key] for key in settings if key != "label"}
    spikes = st_rsbp(*leaves, **settings)
    assert not spikes[:, 1, 1].any()
    assert torch.equal(spikes, st_rsbp(*leaves, **without))
    grads = [
        torch.autograd.grad(st_rsbp(*leaves, **law).sum(0), leaves, error)
        for law in (settings, without)
    ]
    assert grads[0][1][1].any() and not grads[1][1][1].any()


def test_there_is_no_second_derivative():
    leaves, settings, _ = net("dense")
    (grad,) = torch.autograd.grad(
        st_rsbp(*leaves, **settings).sum(), leaves[1], create_graph=True
    )
    with pytest.raises(
        RuntimeError, match=r"once_differentiable|does not require grad"
    ):
        grad.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_single_and_double_precision_agree(kind):
    results = []
    for dtype in DTYPES:
        leaves, settings, error = net(kind, dtype=dtype)
        spikes = st_rsbp(*leaves, **settings)
        grads = torch.autograd.grad(spikes.sum(0), leaves, error)
        assert all(grad.dtype == dtype for grad in grads)
        results.append([spikes.double(), *(grad.double() for grad in grads)])
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_learns_the_same(kind):
    """Counts to the fourth are beyond it, and there is no solver in it."""
    results = []
    for dtype in (torch.float64, torch.float16):
        leaves, settings, error = net(kind, steps=150, dtype=dtype)
        spikes = st_rsbp(*leaves, **settings)
        grads = torch.autograd.grad(spikes.sum(0), leaves, error)
        assert all(grad.dtype == dtype for grad in grads)
        results.append([spikes.double(), *(grad.double() for grad in grads)])
    assert results[0][0].sum(0).max() > 30
    for a, b in zip(*results, strict=True):
        assert b.isfinite().all()
        assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("steps", [5, 6])
def test_a_window_shorter_than_the_desired_count_forces_nothing(steps):
    leaves, settings, error = net("labelled", steps=steps, batch=2)
    settings |= {"desired_count": 6, "lateral": 0.0}
    leaves[1].data[1] = -1  # the label of the second sample is silent
    error[0] = 0
    spikes = st_rsbp(*leaves, **settings)
    _, grad = torch.autograd.grad(spikes.sum(0), leaves, error)
    assert grad[1].any() == (steps == 6)


def test_the_default_table_may_be_given_and_the_direct_one_is_near():
    leaves, settings, error = net("dense")
    table = effect_polynomials(20.0, 4.0, 40)
    grads = [
        torch.autograd.grad(st_rsbp(*leaves, **law).sum(0), leaves, error)
        for law in (settings, settings | {"polynomials": table})
    ]
    assert all(map(torch.equal, *grads))
    direct = st_rsbp(*leaves, **settings, side="direct")
    other = torch.autograd.grad(direct.sum(0), leaves, error)
    assert not torch.equal(other[1], grads[0][1])
    for a, b in zip(other, grads[0], strict=True):  # another law, nearly the same
        assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.95


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
# the forward of a solver, in Inductor itself
@pytest.mark.filterwarnings("ignore:.*_prims_common.check:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_in_one_graph(kind):
    leaves, settings, error = net(kind, steps=8)

    def both(*tensors):
        return st_rsbp(*tensors, **settings).sum(0)

    results = []
    # Inductor cannot yet lower a convolution's sizes as symbols
    for run in (both, torch.compile(both, fullgraph=True, dynamic=False)):
        count = run(*leaves)
        results.append((count, *torch.autograd.grad(count, leaves, error)))
    torch.testing.assert_close(*results)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_layer_takes_windows_of_any_length():
    leaves, settings, _ = net("dense")
    run = torch.compile(
        lambda x: st_rsbp(x, leaves[1], **settings), fullgraph=True, backend="aot_eager"
    )
    for steps in (10, 20, 30):
        x = leaves[0][:steps].detach()
        assert torch.equal(run(x), st_rsbp(x, leaves[1], **settings))
