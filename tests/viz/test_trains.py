import math

import pytest
import torch

from snn_temporal_plugins.viz import psp_traces, rate_histogram, train_raster


def layers():
    """Two layers of 3 and 2 neurons, 4 steps, 2 samples."""
    hidden, output = torch.zeros(4, 2, 3), torch.zeros(4, 2, 2)
    hidden[0, 0, 1] = hidden[2, 0, 1] = hidden[3, 0, 2] = 1
    output[3, 1, 0] = 1
    return [hidden, output]


def dashes(axes):
    """Return the (step, neuron) pairs drawn in a panel of a raster."""
    (lines,) = axes.collections
    ends = [segment.tolist() for segment in lines.get_segments()]
    assert all(right - left == pytest.approx(0.84) for (left, _), (right, _) in ends)
    return sorted((round((a[0] + b[0]) / 2), round(a[1])) for a, b in ends)


def test_raster_draws_a_dash_per_spike():
    first, second = train_raster(layers(), names=["hidden", "output"]).axes
    assert dashes(first) == [(0, 1), (2, 1), (3, 2)]
    assert dashes(second) == []
    assert second.texts[0].get_text() == "no neuron spiked"
    assert first.get_title("left") == "hidden"
    assert first.get_title("right") == "1 of 3 silent, rate 0.250"
    assert second.get_title("right") == "2 of 2 silent, rate 0.000"


def test_raster_labels_its_axes_and_shows_all_steps():
    figure = train_raster(layers(), sample=1)
    assert dashes(figure.axes[1]) == [(3, 0)]
    assert [a.get_title("left") for a in figure.axes] == ["layer 1", "layer 2"]
    assert {a.get_ylabel() for a in figure.axes} == {"neuron"}
    assert figure.axes[1].get_xlabel() == "time (steps)"
    low, high = figure.axes[1].get_xlim()
    assert low < -0.42 and high > 3.42
    figure.canvas.draw()


def test_raster_flattens_convolutional_layers_and_takes_one_step():
    spikes = torch.zeros(1, 1, 3, 4, 5)
    spikes[0, 0, 2, 3, 4] = 1
    figure = train_raster([spikes])
    assert dashes(figure.axes[0]) == [(0, 59)]
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("spikes", "options", "message"),
    [
        ([], {}, "no layer to draw"),
        ([torch.zeros(4, 1, 2)], {"names": ["a", "b"]}, "2 names for 1 layers"),
        ([torch.zeros(4, 2)], {}, r"'layer 1' have shape \(4, 2\); pass trains"),
        ([torch.full((4, 1, 2), 0.3)], {}, "pass trains of 0 and 1"),
        ([torch.full((4, 1, 2), math.nan)], {}, "pass trains of 0 and 1"),
        ([torch.zeros(4, 1, 2)], {"sample": 1}, "sample 1 of 'layer 1'.* 1: choose"),
        ([torch.zeros(4, 1, 2)], {"sample": -1}, "sample -1 of"),
    ],
)
def test_raster_refuses_bad_input(spikes, options, message):
    with pytest.raises(ValueError, match=message):
        train_raster(spikes, **options)


def colours(axes):
    """Return what is drawn in which colour, the grey of the other classes left out."""
    lines = {line.get_color(): list(line.get_ydata()) for line in axes.lines}
    return {name: lines.get(of) for name, of in (("b", "#0072b2"), ("o", "#d55e00"))}


def test_traces_mark_the_target_and_a_wrong_answer():
    psp = torch.zeros(3, 4, 3)
    psp[:, 0, 2] = torch.tensor([0.0, 0.5, 0.25])  # right
    psp[:, 1, 1] = 0.5  # wrong
    psp[:, 3, 0] = psp[:, 3, 1] = 0.5  # a tie goes to the first; sample 2 is silent
    figure = psp_traces(psp, torch.tensor([2, 0, 0, 0]))
    right, wrong, silent, tied = figure.axes
    assert colours(right) == {"b": [0.0, 0.5, 0.25], "o": None}
    assert colours(wrong) == {"b": [0.0] * 3, "o": [0.5] * 3}
    assert colours(silent)["o"] is colours(tied)["o"] is None
    assert [len(axes.lines) for axes in figure.axes] == [3] * 4
    remarks = [axes.get_title("right") for axes in figure.axes]
    assert remarks == ["answer 2", "answer 1", "no decision", "answer 0"]
    assert right.get_title("left") == "target 2"
    assert right.get_ylabel() == "output PSP"
    assert {axes.get_xlabel() for axes in figure.axes} == {"time (steps)"}
    figure.canvas.draw()


def test_traces_of_few_samples_and_of_none():
    psp = torch.rand(5, 3, 2, requires_grad=True)
    target = torch.zeros(3).long()
    assert len(psp_traces(psp, target).axes) == 3
    assert len(psp_traces(psp, target, samples=2).axes) == 2
    empty = psp_traces(psp[:, :0], target[:0])
    assert empty.axes[0].texts[0].get_text() == "no samples"
    empty.canvas.draw()


@pytest.mark.parametrize(
    ("shape", "targets", "samples"),
    [((5, 2), 2, 4), ((5, 3, 2), 2, 4), ((5, 2, 2), 2, 0)],
)
def test_traces_refuse_what_does_not_fit(shape, targets, samples):
    with pytest.raises(ValueError, match=rf"{samples} samples of PSPs of shape"):
        psp_traces(torch.zeros(shape), torch.zeros(targets).long(), samples=samples)


def test_rates_of_firing_neurons_add_up():
    rates = torch.tensor([[0.0, 0.1, 0.25], [0.25, 0.3, 0.4]])
    figure = rate_histogram([rates, torch.zeros(4)], names=["hidden", "output"])
    first, second = figure.axes
    assert sum(first.patches[0].get_data().values) == pytest.approx(100 * 5 / 6)
    assert first.get_title("right") == "mean 0.217, 16.67 % never fired"
    assert second.get_title("right") == "mean 0.000, 100.00 % never fired"
    assert second.texts[0].get_text() == "no neuron spiked"
    assert second.get_xlabel() == "firing rate (spikes per step)"
    assert first.get_ylabel() == "neurons (%)"
    figure.canvas.draw()


def test_rates_of_no_neurons_and_of_neurons_that_always_fire():
    empty = rate_histogram([torch.empty(0)])
    assert empty.axes[0].texts[0].get_text() == "no neurons"
    empty.canvas.draw()
    axes = rate_histogram([torch.ones(3)]).axes[0]
    assert axes.patches[0].get_data().values[-1] == pytest.approx(100)


@pytest.mark.parametrize("rate", [-0.1, 1.5, math.nan])
def test_rates_outside_of_zero_and_one_are_refused(rate):
    with pytest.raises(ValueError, match="firing rates of 'a' are not all from 0 to 1"):
        rate_histogram([torch.tensor([0.5, rate])], names=["a"])


def test_every_picture_of_trains_says_how_to_read_it():
    for figure in (
        train_raster(layers()),
        psp_traces(layers()[1], torch.tensor([0, 1])),
        rate_histogram([torch.rand(3)]),
    ):
        assert len(figure.get_label()) > 60
