import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from snn_temporal_plugins.viz import (
    confusion,
    energy_breakdown,
    learning_curve,
    raster,
    save_picture,
)
from snn_temporal_plugins.viz.render import page_svg, render
from snn_temporal_plugins.viz.style import DARK


def picture():
    return raster([torch.linspace(0, 1, 50).reshape(1, 50)], names=["input"])


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_equal_figures_give_equal_bytes(kind):
    figure = picture()
    first = render(figure, kind)
    assert render(figure, kind) == first
    assert render(picture(), kind) == first


def test_files_name_neither_the_hour_nor_the_machine():
    svg = render(picture(), "svg").decode()
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg
    assert b"Software" not in render(picture(), "png")


@pytest.mark.parametrize(("name", "head"), [("a.png", b"\x89PNG"), ("b.SVG", b"<?xml")])
def test_save_picture_makes_folders_and_leaves_one_file(tmp_path, name, head):
    path = tmp_path / "new" / name
    save_picture(picture(), path)
    assert path.read_bytes().startswith(head)
    assert list(path.parent.iterdir()) == [path]


def test_save_picture_refuses_an_unknown_ending(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg'.*\.png or \.svg"):
        save_picture(picture(), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(self, data):
        with self.open("wb") as half:
            half.write(data[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        save_picture(picture(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_page_svg_is_xml_that_follows_the_reader_into_the_dark():
    svg = page_svg(picture()).decode()
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme:dark" in svg
    for light, dark in DARK.items():
        assert f"fill: {light}" not in svg
        assert f"stroke: {light}" not in svg
        assert dark in svg


def test_hostile_names_stay_text_in_an_svg():
    hostile = "</text><script>alert(1)</script>"
    svg = page_svg(energy_breakdown({hostile: [1.0]}, [hostile], (1.0, 1.0)))
    tags = {
        element.tag.split("}")[-1] for element in ElementTree.fromstring(svg).iter()
    }
    assert "script" not in tags
    assert "text" in tags


def test_the_users_own_style_changes_nothing():
    import matplotlib as mpl

    plain = render(picture(), "svg")
    with mpl.rc_context({"axes.grid": False, "font.size": 20, "text.usetex": True}):
        assert render(picture(), "svg") == plain
        assert mpl.rcParams["font.size"] == 20


def test_dots_of_a_big_layer_become_one_image():
    few = page_svg(raster([torch.rand(1, 1500)]))
    many = page_svg(raster([torch.rand(1, 20_000)]))
    assert b"<image" not in few and b"<image" in many
    assert len(many) < 1_000_000


def test_no_picture_imports_pyplot():
    code = (
        "import sys, torch\n"
        "from snn_temporal_plugins import viz\n"
        "assert 'matplotlib' not in sys.modules, 'viz is not lazy'\n"
        "assert 'jinja2' not in sys.modules, 'viz is not lazy'\n"
        "times, target = torch.rand(4, 3), torch.zeros(4, dtype=torch.long)\n"
        "figures = [viz.raster([times]), viz.spike_time_histogram([times]),\n"
        "    viz.learning_curve([]), viz.energy_breakdown({'a': [1]}, 'x', (1, 1)),\n"
        "    viz.accuracy_against_latency(times, target),\n"
        "    viz.confusion(target, target, 3)]\n"
        "for figure in figures: figure.canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot was imported'\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    for draw in (
        lambda: raster([torch.zeros(1, 1)]),
        lambda: learning_curve([]),
        lambda: confusion(torch.tensor([0]), torch.tensor([0]), 1),
    ):
        with pytest.raises(ImportError, match=r"snn-temporal-plugins\[viz\]"):
            draw()
