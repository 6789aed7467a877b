import math

import pytest
import torch

from snn_temporal_plugins.viz import (
    accuracy_against_latency,
    raster,
    spike_time_histogram,
)

INF = math.inf


def layers():
    return [
        torch.tensor([[0.0, 0.5, INF, 0.25], [0.1, INF, INF, INF]]),
        torch.tensor([[0.75, INF, 0.5], [INF, INF, 1.5]]),
    ]


def dots(axes):
    """Return the (time, neuron) pairs drawn in a panel of a raster."""
    line = axes.lines[0]
    return sorted(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_raster_draws_one_dot_per_neuron_at_its_spike_time():
    figure = raster(layers(), names=["input", "output"])
    first, second = figure.axes
    assert dots(first) == [(0.0, 0), (0.25, 3), (0.5, 1)]
    assert dots(second) == [(0.5, 2), (0.75, 0)]


def test_raster_counts_silent_neurons_in_the_titles():
    figure = raster(layers(), names=["input", "output"], sample=1)
    assert [a.get_title("left") for a in figure.axes] == ["input", "output"]
    assert figure.axes[0].get_title("right") == "3 of 4 silent"
    assert figure.axes[1].get_title("right") == "2 of 3 silent, first spike at 1.5"


def test_raster_labels_its_axes_with_units():
    figure = raster(layers())
    assert figure.axes[-1].get_xlabel() == "spike time (input windows)"
    assert {a.get_ylabel() for a in figure.axes} == {"neuron"}
    assert [a.get_title("left") for a in figure.axes] == ["layer 1", "layer 2"]


def test_raster_marks_the_first_spike_of_the_last_layer_in_every_panel():
    for axes in raster(layers()).axes:
        assert set(axes.lines[1].get_xdata()) == {0.5}


def test_raster_counts_a_spike_after_the_horizon_as_silent():
    figure = raster(layers(), t_max=0.6)
    assert figure.axes[1].get_title("right") == "2 of 3 silent, first spike at 0.5"
    low, high = figure.axes[1].get_xlim()
    assert low < 0 and 0.6 < high < 0.7


def test_raster_flattens_convolutional_layers():
    times = torch.full((2, 3, 4, 5), INF)
    times[1, 2, 3, 4] = 0.5
    figure = raster([times], sample=1)
    assert dots(figure.axes[0]) == [(0.5, 59)]
    assert figure.axes[0].get_title("right").startswith("59 of 60 silent")


def test_raster_of_a_silent_network_says_so_and_marks_no_decision():
    figure = raster([torch.full((1, 5), INF), torch.full((1, 2), INF)])
    assert [a.texts[0].get_text() for a in figure.axes] == ["no neuron spiked"] * 2
    assert all(len(a.lines) == 1 for a in figure.axes)
    figure.canvas.draw()


def test_raster_draws_a_layer_without_neurons():
    figure = raster([torch.empty(1, 0)])
    assert figure.axes[0].get_title("right") == "0 of 0 silent"
    figure.canvas.draw()


def test_raster_shows_negative_times():
    figure = raster([torch.tensor([[-0.5, 0.5]])])
    assert figure.axes[0].get_xlim()[0] < -0.5


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16]
)
def test_pictures_take_every_float_and_leave_it_alone(dtype):
    times = torch.tensor([[0.25, INF, 0.5]], dtype=dtype, requires_grad=True)
    assert dots(raster([times]).axes[0]) == [(0.25, 0), (0.5, 2)]
    accuracy_against_latency(times, torch.tensor([0]))
    spike_time_histogram([times])
    assert times.dtype == dtype and times.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pictures_take_tensors_from_an_accelerator():
    times = torch.tensor([[0.25, INF]], device="cuda")
    assert dots(raster([times]).axes[0]) == [(0.25, 0)]
    accuracy_against_latency(times, torch.tensor([0], device="cuda"))


@pytest.mark.parametrize("sample", [-1, 2])
def test_raster_refuses_a_sample_outside_the_batch(sample):
    with pytest.raises(ValueError, match=rf"sample {sample} of 'layer 1'.* 2: choose"):
        raster(layers(), sample=sample)


@pytest.mark.parametrize("draw", [raster, spike_time_histogram])
@pytest.mark.parametrize(
    ("times", "names", "message"),
    [
        ([], None, "no layer to draw"),
        ([torch.zeros(2, 3)], ["a", "b"], "2 names for 1 layers"),
        ([torch.zeros(3)], None, r"'layer 1' have shape \(3,\)"),
        ([torch.tensor([[math.nan]])], ["a"], "'a' contain NaN or -inf"),
        ([torch.tensor([[-INF]])], ["a"], "'a' contain NaN or -inf"),
    ],
)
def test_layer_pictures_refuse_bad_input(draw, times, names, message):
    with pytest.raises(ValueError, match=message):
        draw(times, names=names)


def test_histogram_bars_and_silent_share_add_up_to_all_neurons():
    torch.manual_seed(0)
    times = torch.rand(50, 40)
    times[torch.rand(50, 40) < 0.25] = INF
    axes = spike_time_histogram([times], names=["hidden"]).axes[0]
    bars = sum(axes.patches[0].get_data().values)
    silent = 100 * times.isinf().double().mean().item()
    assert bars + silent == pytest.approx(100)
    assert axes.get_title("left") == "hidden"
    assert axes.get_title("right") == f"{silent:.1f} % silent"
    assert axes.get_xlabel() == "spike time (input windows)"
    assert axes.get_ylabel() == "neurons (%)"


def test_histogram_counts_spikes_on_both_ends_of_the_range():
    axes = spike_time_histogram([torch.tensor([[0.0, 2.0, 2.0]])], t_max=2.0).axes[0]
    values = axes.patches[0].get_data().values
    assert values[0] == pytest.approx(100 / 3)
    assert values[-1] == pytest.approx(200 / 3)


def test_histogram_marks_the_median_spike():
    axes = spike_time_histogram([torch.tensor([[0.1, 0.4, 0.9, INF]])]).axes[0]
    assert list(axes.lines[0].get_xdata()) == pytest.approx([0.4])


def test_histogram_of_silent_and_of_empty_layers_says_so():
    figure = spike_time_histogram([torch.full((2, 5), INF), torch.empty(0, 5)])
    silent, empty = figure.axes
    assert silent.get_title("right") == "100.0 % silent"
    assert silent.texts[0].get_text() == "no neuron spiked"
    assert empty.texts[0].get_text() == "no samples"
    figure.canvas.draw()


def test_accuracy_rises_at_each_right_decision():
    spike_time = torch.tensor([[0.2, 0.5], [0.4, 0.3], [0.6, 0.9], [INF, INF]])
    figure = accuracy_against_latency(spike_time, torch.tensor([0, 0, 0, 0]))
    decided, accuracy, _ = figure.axes[0].lines
    assert list(decided.get_xdata())[1:-1] == pytest.approx([0.2, 0.3, 0.6])
    assert list(decided.get_ydata()) == [0, 25, 50, 75, 75]
    assert list(accuracy.get_ydata()) == [0, 25, 25, 50, 50]
    assert figure.axes[0].get_title("left") == "50.00 % right in the end"
    assert figure.axes[0].get_title("right") == "75.00 % decided"
    assert figure.axes[0].get_xlabel() == "cut-off time (input windows)"


def test_accuracy_when_nothing_is_decided_says_so():
    silent, tied = torch.full((1, 3), INF), torch.full((1, 3), 0.5)
    for spike_time in (silent, tied, torch.cat([silent, tied]), torch.empty(0, 3)):
        target = torch.zeros(len(spike_time), dtype=torch.long)
        figure = accuracy_against_latency(spike_time, target)
        assert figure.axes[0].texts[0].get_text() == "no sample was decided"
        assert figure.axes[0].get_title("right") == f"{len(target)} samples"
        figure.canvas.draw()


def test_accuracy_of_a_network_that_is_always_wrong_and_of_one_class():
    wrong = accuracy_against_latency(torch.tensor([[0.1, 0.2]]), torch.tensor([1]))
    assert wrong.axes[0].get_title("left") == "0.00 % right in the end"
    one = accuracy_against_latency(torch.tensor([[0.5], [INF]]), torch.tensor([0, 0]))
    assert one.axes[0].get_title("left") == "50.00 % right in the end"
    one.canvas.draw()


def test_accuracy_refuses_targets_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) with targets of shape \(3,"):
        accuracy_against_latency(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))


def test_accuracy_refuses_nan():
    with pytest.raises(ValueError, match="'the output layer' contain NaN"):
        accuracy_against_latency(torch.tensor([[math.nan]]), torch.tensor([0]))


def test_every_picture_says_how_to_read_it():
    for figure in (
        raster(layers()),
        spike_time_histogram(layers()),
        accuracy_against_latency(layers()[1], torch.tensor([0, 2])),
    ):
        assert len(figure.get_label()) > 60
