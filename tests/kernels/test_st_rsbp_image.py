"""The ops of convolutions and pools: both bodies alike and equal to the oracle."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import image_effects, image_window, slid
from snn_temporal_plugins.kernels import st_rsbp_image as bodies
from tests.oracles import st_rsbp as oracle

DTYPES = (torch.float32, torch.float64)
CONSTANTS = (10.0, 3.0, 2)  # tau_mem, tau_syn, refractory
DYNAMICS = (0.8, *CONSTANTS)
POOL = {"maps": (2, 0), "kernel": (1, 1), "stride": 2, "padding": 0}
CONV = {"maps": (2, 3), "kernel": (3, 2), "stride": 2, "padding": 1}
KINDS = pytest.mark.parametrize("shapes", [POOL, CONV], ids=["pool", "conv"])
SHAPES = {
    "steps": st.integers(1, 10),
    "batch": st.integers(0, 3),
    # no output maps: a pool
    "maps": st.tuples(st.integers(1, 3), st.integers(0, 3)),
    "image": st.tuples(st.integers(1, 7), st.integers(1, 7)),
    "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "stride": st.integers(1, 4),
    "padding": st.integers(0, 3),
    "seed": st.integers(0, 2**16),
}


def problem(
    steps=12, batch=3, maps=(2, 3), image=(5, 7), kernel=(3, 2), stride=2, padding=1,
    seed=0, dtype=torch.float64,
):  # fmt: skip
    """x, last, weight, state at rest, spikes, error; and stride and padding."""
    g = torch.Generator().manual_seed(seed)

    def trains(*shape):
        return (torch.rand(shape, generator=g) < 0.3).to(dtype)

    def numbers(*shape):  # of few digits, so that sums are exact
        drawn = torch.randn(shape, generator=g, dtype=torch.float64)
        return ((drawn * 16).round() / 16).to(dtype)

    channels, outputs = maps
    least = [k - 2 * padding if outputs else stride for k in kernel]
    image = tuple(map(max, image, least))
    if outputs:
        size = outputs, *slid(image, kernel, stride, padding)
        weight = numbers(outputs, channels, *kernel) + 0.25
    else:
        padding, size = 0, (channels, *(n // stride for n in image))
        weight = torch.empty(0, dtype=dtype)
    neurons = math.prod(size)
    x = trains(steps, batch, channels, *image)
    x[:, :, :, :1, :1] = 0  # a silent pixel
    tensors = x, trains(batch, channels, *image), weight
    state = torch.zeros(4, batch, neurons, dtype=dtype)
    spikes, error = trains(steps, batch, neurons), numbers(batch, neurons)
    return (*tensors, state, spikes, error), (stride, padding)


@given(
    **SHAPES,
    tau_mem=st.sampled_from([1.0, 2.0]),  # these and weights k/16 make sums exact
    tau_syn=st.sampled_from([1.0, 2.0]),
    refractory=st.integers(0, 4),
    v_th=st.sampled_from([0.25, 1.0, 3.0]),
    moving=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_both_bodies_give_the_very_same_spikes(
    v_th, tau_mem, tau_syn, refractory, moving, dtype, **shapes
):
    (*tensors, _, _), slide = problem(**shapes, dtype=dtype)
    constants = v_th, tau_mem, tau_syn, refractory, *slide
    if moving:
        tensors[3] = image_window(*tensors, *constants)[2]
    ours = image_window(*tensors, *constants)
    theirs = bodies._window_reference(*tensors, *constants)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype and torch.equal(a, b)


def dense(shape, weight, stride, padding):
    """Weights of all pixels, and for a convolution their places in the kernel."""
    if len(weight):
        return oracle.unrolled(weight.numpy(), shape, stride, padding)[:2]
    return oracle.pooled(shape, stride)[0], None


@given(
    **SHAPES,
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 40),
    refractory=st.integers(0, 4),
    need_in=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_the_sums_of_both_bodies_equal_the_oracle(need_in, dtype, **shapes):
    times = {k: shapes.pop(k) for k in ("tau_mem", "tau_syn", "refractory")}
    tensors, slide = problem(**shapes, dtype=dtype)
    x, _, weight, _, spikes, error = (tensor.double() for tensor in tensors)
    table, places = dense(tuple(x.shape[2:]), weight, *slide)
    through, grad = np.zeros(x.shape[1:]), np.zeros(weight.shape)
    for b in range(x.shape[1]):
        pixels = x[:, b].flatten(1).numpy()
        e = oracle.effects(pixels, spikes[:, b].numpy(), **times)
        through[b] = (error[b].numpy() @ (table * e)).reshape(x.shape[2:])
        for i, j, index in places or []:
            grad[index] += error[b, i].item() * e[i, j]
    close = 1e-12 if dtype == torch.float64 else 2e-5
    x, _, weight, _, spikes, error = tensors
    arguments = x, spikes, weight, error, *times.values(), *slide
    ours = image_effects(*arguments, need_in)
    theirs = bodies._effects_reference(*arguments)
    for a, b, truth in zip(ours, theirs, (through, grad), strict=True):
        assert a.dtype == b.dtype == dtype
        scale = 1 + np.abs(truth).max(initial=0)
        np.testing.assert_allclose(b, truth, rtol=close, atol=close * scale)
        if need_in or truth is grad:
            np.testing.assert_allclose(a, truth, rtol=close, atol=close * scale)
    assert need_in or ours[0].numel() == 0


@KINDS
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("refractory", [0, 2, 5])
def test_two_windows_are_one(shapes, dtype, refractory):
    (x, last, weight, state, _, _), slide = problem(20, **shapes, dtype=dtype)
    constants = 1.2, 10.0, 3.0, refractory, *slide
    spikes, drive, end = image_window(x, last, weight, state, *constants)
    assert 5 < spikes.sum() < 0.9 * spikes.numel()
    for cut in (1, 7, 19):
        first = image_window(x[:cut], last, weight, state, *constants)
        second = image_window(x[cut:], x[cut - 1], weight, first[2], *constants)
        assert torch.equal(torch.cat([first[0], second[0]]), spikes)
        torch.testing.assert_close(first[1] + second[1], drive)
        assert torch.equal(second[2], end)


@KINDS
@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_without_an_error_give_zero_and_change_nothing(shapes, dtype):
    (x, _, weight, _, spikes, error), slide = problem(batch=4, **shapes, dtype=dtype)
    error[::2] = 0
    rest = *CONSTANTS, *slide, True
    through, grad = image_effects(x, spikes, weight, error, *rest)
    assert not through[::2].any() and through[1::2].any()
    some = x[:, 1::2], spikes[:, 1::2], weight, error[1::2]
    alone = image_effects(*some, *rest)
    assert torch.equal(through[1::2], alone[0]) and torch.equal(grad, alone[1])
    error[0, 0] = math.nan  # is not taken for none
    through, _ = image_effects(x, spikes, weight, error, *rest)
    assert through[0].isnan().any()


@KINDS
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_nothing(shapes, dtype):
    sizes = shapes | {"batch": 32, "image": (16, 20)}  # work for several threads
    (*tensors, spikes, error), slide = problem(200, **sizes, dtype=dtype)
    x, _, weight, _ = tensors
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            window = image_window(*tensors, *DYNAMICS, *slide)
            rest = *CONSTANTS, *slide, True
            results.append((*window, *image_effects(x, spikes, weight, error, *rest)))
    finally:
        torch.set_num_threads(before)
    close = 1e-12 if dtype == torch.float64 else 1e-4  # sums in another order
    for ours in results[1:]:
        assert all(map(torch.equal, results[0][:4], ours[:4]))
        torch.testing.assert_close(results[0][4], ours[4], rtol=close, atol=close)


@KINDS
@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_inputs_are_left_alone(shapes, dtype):
    def strided(tensor):
        return (
            torch.stack([tensor, tensor], -1)
            .transpose(0, 1)
            .contiguous()[..., 0]
            .transpose(0, 1)
        )

    (*tensors, spikes, error), slide = problem(**shapes, dtype=dtype)
    x, last, weight, state = tensors
    kept = [tensor.clone() for tensor in (*tensors, spikes, error)]
    others = strided(x), strided(last), weight, strided(state)
    ours, theirs = (
        image_window(*given, *DYNAMICS, *slide) for given in (tensors, others)
    )
    assert all(map(torch.equal, ours, theirs))
    ours, theirs = (
        image_effects(*given, *CONSTANTS, *slide, True)
        for given in (
            (x, spikes, weight, error),
            (strided(x), strided(spikes), weight, strided(error)),
        )
    )
    assert all(map(torch.equal, ours, theirs))
    assert all(map(torch.equal, kept, (*tensors, spikes, error)))


@pytest.mark.parametrize("body", [image_window, bodies._window_reference])
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 5, -1, None])
@KINDS
def test_spikes_are_0_or_1(body, value, step, shapes):
    (x, last, *others), slide = problem(**shapes)
    (last if step is None else x[step])[1, 1, 4, 6] = value  # in the border of a pool
    message = r"other values than 0 and 1.*rate_encode.*SpikeTrainPool2d"
    with pytest.raises(ValueError, match=message):
        body(x, last, *others[:2], *DYNAMICS, *slide)


@pytest.mark.parametrize("body", [image_window, bodies._window_reference])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["weight", "state"])
def test_a_value_that_is_not_finite(body, value, place):
    (x, last, weight, state, _, _), slide = problem(**CONV)
    if place == "state":
        state[0 if math.isnan(value) else 1, 1, 3] = value
    else:
        weight[2] = value
    with pytest.raises(ValueError, match=r"NaN or inf.*learning rate"):
        body(x, last, weight, state, *DYNAMICS, *slide)


@KINDS
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])  # half: no Numba body
def test_opcheck(shapes, dtype):
    (*tensors, spikes, error), slide = problem(5, 2, **shapes, dtype=dtype)
    x, _, weight, _ = tensors
    check = torch.library.opcheck
    check(image_window, (*tensors, *DYNAMICS, *slide))
    turned = tensors[3].transpose(0, 2).contiguous().transpose(0, 2)
    check(image_window, (*tensors[:3], turned, *DYNAMICS, *slide))
    for need_in in (False, True):
        rest = *CONSTANTS, *slide, need_in
        check(image_effects, (x, spikes, weight, error, *rest))


@pytest.mark.slow
def test_second_process_does_not_compile():
    program = (
        "import sys\n"
        "import torch\n"
        "from snn_temporal_plugins import kernels\n"
        "module = sys.modules['snn_temporal_plugins.kernels.st_rsbp_image']\n"
        "x, w, s = torch.ones(3, 1, 2, 4, 4), torch.ones(0), torch.zeros(4, 1, 8)\n"
        "y = kernels.image_window(x, x[0], w, s, 1.0, 5.0, 3.0, 2, 2, 0)[0]\n"
        "kernels.image_effects(x, y, w, s[0], 5.0, 3.0, 2, 2, 0, True)\n"
        "for body in (module._image_window, module._image_effects):\n"
        "    stats = body.stats\n"
        "    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["1", "0"] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@KINDS
def test_cuda_runs_the_reference_body(shapes):
    (*tensors, spikes, error), slide = problem(**shapes)
    x, _, weight, _ = tensors
    calls = (
        (image_window, tensors, (*DYNAMICS, *slide)),
        (image_effects, (x, spikes, weight, error), (*CONSTANTS, *slide, True)),
    )
    for op, arguments, constants in calls:
        here = op(*arguments, *constants)
        there = op(*(tensor.cuda() for tensor in arguments), *constants)
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(a, b.cpu())
