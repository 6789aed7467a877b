"""LIF layers and direct encoding: the authors' numbers, and what must be equal."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snn_temporal_plugins.functional.lif import psp_filter
from snn_temporal_plugins.functional.train_loss import kernel_loss
from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPDropout,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
    build_network,
)
from snn_temporal_plugins.rules import tssl_bp
from snn_temporal_plugins.testing import check_layer
from tests.golden import load, time_first

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}
LINEAR = {case["name"]: case for case in load("tssl/linear.json")["cases"]}


def assert_close(ours, theirs, dtype):
    torch.testing.assert_close(ours, theirs, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def rand(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (LIFLinear(9, 20), (9,)),
        (LIFLinear(9, 20, reset="soft", rule_options={"alpha": 0.3}), (9,)),
        (LIFConv2d(2, 6, 3, stride=2, padding=1, weight_scale=4.0), (2, 7, 8)),
        (PSPPool2d(2), (2, 6, 7)),
        (PSPFilter(2.0), (5,)),
        (PSPDropout(0.5), (2, 3, 4)),
        (TimeFlatten(), (2, 3, 4)),
        (
            build_network("8x8-4C3P1-P2-20-10", rule="tssl_bp", num_steps=None),
            (1, 8, 8),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keeps_the_contract(layer, shape):
    check_layer(layer, shape, domain="spike train")


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("name", LINEAR)
def test_dense_layer_equals_the_authors_code(name, dtype):
    case = LINEAR[name]

    def flat(key, of=case):  # (N, C, H, W, T) to (T, N, C * H * W)
        return time_first(of[key], dtype).flatten(2)

    layer = LIFLinear(
        *reversed(torch.tensor(case["weight"]).shape),
        tau_mem=case["tau_m"],
        tau_syn=case["tau_s"],
        v_th=case["threshold"],
        dtype=dtype,
    )
    layer.load_state_dict({"weight": torch.tensor(case["weight"], dtype=dtype)})
    psp = PSPFilter(case["tau_s"])(flat("raw_input"))
    assert_close(psp, flat("input_psp"), dtype)
    psp = flat("input_psp").requires_grad_()
    assert_close(layer.current(psp), flat("current"), dtype)
    out = layer(psp)
    assert_close(out, flat("output_psp"), dtype)
    grads = torch.autograd.grad(out, (layer.weight, psp), flat("grad_output"))
    assert_close(grads[0], torch.tensor(case["weight_grad"], dtype=dtype), dtype)
    assert_close(grads[1], flat("input_grad"), dtype)

    single = case["kernel_loss_single_filter"]
    out, label = layer(psp), torch.tensor(single["labels"])
    if len(out) % 5 == 0 and single["desired_spikes"] == [0, 1, 1, 1, 1]:
        loss = kernel_loss(out, label, tau_syn=case["tau_s"], target_filter="single")
    else:  # a pattern that the code had at other times
        train = torch.tensor(single["desired_spikes"], dtype=dtype)[:, None, None]
        wanted = train * F.one_hot(label, out.shape[2])
        loss = (out - psp_filter(wanted, case["tau_s"])).square().sum() / 2
    assert loss.item() == pytest.approx(single["loss"], rel=CLOSE[dtype])
    grads = torch.autograd.grad(loss, (layer.weight, psp))
    assert_close(grads[0], torch.tensor(single["weight_grad"], dtype=dtype), dtype)
    assert_close(grads[1], flat("input_grad", single), dtype)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_convolution_is_the_dense_law_on_every_patch(stride, padding):
    torch.manual_seed(0)
    layer = LIFConv2d(
        3, 5, 3, stride=stride, padding=padding, weight_scale=4.0, dtype=torch.float64
    )
    dense = LIFLinear(27, 5, dtype=torch.float64)
    dense.load_state_dict({"weight": layer.weight.detach().flatten(1)})
    psp = rand(6, 2, 3, 8, 9).requires_grad_()
    out = layer(psp)
    assert out.any()
    error = rand(*out.shape, seed=1) - 0.5
    grad_weight, grad_psp = torch.autograd.grad(out, (layer.weight, psp), error)
    padded = F.pad(psp, (padding,) * 4)
    total = 0
    for y in range(out.shape[3]):
        for x in range(out.shape[4]):
            rows, columns = y * stride, x * stride
            patch = padded[..., rows : rows + 3, columns : columns + 3].flatten(2)
            alone = dense(patch)
            torch.testing.assert_close(out[..., y, x], alone)
            total = total + (alone * error[..., y, x]).sum()
    ours = torch.autograd.grad(total, (dense.weight, psp))
    torch.testing.assert_close(ours[0], grad_weight.flatten(1))
    torch.testing.assert_close(ours[1], grad_psp)


def test_channels_last_images():
    layer = LIFConv2d(3, 4, 3, weight_scale=4.0)
    psp = rand(5, 2, 3, 6, 6).float()
    last = psp.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (5, 2))
    torch.testing.assert_close(layer(last), layer(psp))
    layer.to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), layer(psp))


@pytest.mark.parametrize("steps", [1, 5, 12])
@pytest.mark.parametrize(
    ("kind", "sizes", "shape"),
    [(LIFLinear, (6, 20), (6,)), (LIFConv2d, (2, 7, 3), (2, 5, 5))],
)
def test_direct_encoding_is_the_filter_on_the_repeated_image(kind, sizes, shape, steps):
    options = {"weight_scale": 2.0, "dtype": torch.float64, "tau_syn": 2.5}
    direct = kind(*sizes, num_steps=steps, **options)
    plain = kind(*sizes, **options)
    plain.load_state_dict(direct.state_dict())
    assert direct(rand(0, *shape)).shape[:2] == (steps, 0)
    image = (rand(3, *shape) * 2).requires_grad_()
    repeated = image.expand(steps, *image.shape)
    out = plain(PSPFilter(2.5)(repeated))
    ours = direct(image)
    assert (steps == 1 or out.any()) and ours.shape == out.shape
    torch.testing.assert_close(ours, out, rtol=1e-10, atol=1e-12)
    error = rand(*out.shape, seed=2) - 0.5
    for a, b in zip(
        torch.autograd.grad(ours, (direct.weight, image), error),
        torch.autograd.grad(out, (plain.weight, image), error),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [LIFLinear, LIFConv2d])
def test_the_options_reach_the_rule(kind):
    options = {"decision": "always_timing", "clip": 3.0, "alpha": 0.4}
    sizes = (4, 9) if kind is LIFLinear else (4, 9, 1)
    layer = kind(
        *sizes,
        **{"tau_mem": 4.0, "tau_syn": 2.0, "v_th": 0.2, "reset": "soft"},
        rule_options=options,
        dtype=torch.float64,
    )
    psp = rand(6, 3, *((4,) if kind is LIFLinear else (4, 2, 2))).requires_grad_()
    current = layer.current(psp)
    expected = tssl_bp(
        current, tau_mem=4.0, tau_syn=2.0, v_th=0.2, reset="soft", **options
    )
    out = layer(psp)
    assert torch.equal(out, expected)
    error = rand(*out.shape, seed=3)
    ours, theirs = (torch.autograd.grad(x, psp, error)[0] for x in (out, expected))
    assert torch.equal(ours, theirs)


def test_initial_weights():
    torch.manual_seed(0)
    dense = LIFLinear(400, 300, weight_scale=0.5).weight
    assert dense.std().item() == pytest.approx(0.5 * (2 / 400) ** 0.5, rel=0.02)
    kernel = LIFConv2d(16, 32, 5, weight_scale=5.0).weight
    assert kernel.abs().max() <= 5 / 400**0.5
    assert kernel.std().item() == pytest.approx(5 / 400**0.5 / 3**0.5, rel=0.02)


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_network_compiles_in_one_graph():
    torch.manual_seed(0)
    network = build_network("8x8-4C3P1-P2-20-10", rule="tssl_bp")
    image, label = torch.rand(6, 1, 8, 8), torch.arange(6)
    results = []
    for run in (network, torch.compile(network, fullgraph=True)):
        network.zero_grad()
        psp = run(image)
        kernel_loss(psp, label).backward()
        results.append([psp, *(p.grad.clone() for p in network.parameters())])
    torch.testing.assert_close(*results)


def test_network_is_made_of_plain_modules():
    network = build_network("32C5-P2-64C5-P2-1024-10", rule="tssl_bp", num_steps=3)
    assert isinstance(network, nn.Sequential)
    assert network(torch.rand(2, 1, 28, 28)).shape == (3, 2, 10)


STEPS = torch.rand(5, 2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LIFLinear(0, 3), ValueError, "at least 1"),
        (lambda: LIFLinear(3, 3, tau_mem=0.5), ValueError, "tau_mem is 0.5"),
        (lambda: LIFLinear(3, 3, tau_syn=0.5), ValueError, "tau_syn is 0.5"),
        (lambda: LIFLinear(3, 3, v_th=float("nan")), ValueError, "v_th is nan"),
        (lambda: LIFLinear(3, 3, reset="zero"), ValueError, "reset is 'zero'"),
        (lambda: LIFLinear(3, 3, num_steps=0), ValueError, "num_steps is 0"),
        (lambda: LIFLinear(3, 3, rule="hebb"), ValueError, "unknown rule 'hebb'"),
        (lambda: LIFLinear(3, 3, rule="stdbp"), ValueError, "'stdbp'.*spike trains"),
        (
            lambda: LIFLinear(3, 3, rule_options={"decision": "late"}),
            *(ValueError, "decision is 'late'"),
        ),
        (lambda: LIFLinear(3, 3, rule_options={"slope": 1}), TypeError, "slope"),
        (lambda: LIFLinear(4, 3)(STEPS), ValueError, r"\(10, 3\).*\(batch, 4\)"),
        (lambda: LIFLinear(3, 3)(STEPS[0, 0]), ValueError, r"\(time, batch, ...\)"),
        (lambda: LIFLinear(3, 3)(STEPS[:0]), ValueError, "at least one step"),
        (lambda: LIFLinear(3, 3)(STEPS.long()), TypeError, "psp is torch.int64"),
        (lambda: LIFLinear(3, 3, num_steps=2)(STEPS), ValueError, r"\(batch, 3\)"),
        (lambda: LIFLinear(3, 3, num_steps=2)(STEPS[0].byte()), TypeError, "uint8"),
        (lambda: LIFLinear(3, 3)(STEPS / 0), ValueError, "NaN or inf"),
        (lambda: LIFConv2d(1, 1, 3, stride=0), ValueError, "stride is 0"),
        (lambda: LIFConv2d(3, 1, 3)(STEPS), ValueError, r"\(batch, 3, height, width\)"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
