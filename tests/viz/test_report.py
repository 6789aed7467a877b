import base64
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import torch

from snn_temporal_plugins.viz import confusion, energy_breakdown, raster, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "</title></td><script>alert('x')</script>\"'&<img src=http://evil.example>"


class Page(HTMLParser):
    """Checks that every tag is closed in order, and keeps what a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.text.append((self.open[-1], data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self, tag):
        return [data for name, data in self.text if name == tag]


def arguments():
    classes = torch.tensor([0, 1, 1, -1])
    return {
        "title": "Digits",
        "table": [
            {"": "accuracy", "float": "98.2 %", "integer": "98.1 %"},
            {"": "spikes per neuron", "float": 0.123456, "integer": None},
        ],
        "figures": {
            "Spikes": raster([torch.linspace(0, 1, 10).reshape(2, 5)]),
            "Confusion": confusion(classes, classes.clamp(min=0), 2),
        },
        "notes": "First paragraph.\n\nSecond one.",
        "settings": {"model": {"spec": "64-10", "t_max": 2.0}, "seed": 1},
    }


def page(tmp_path, **changes):
    path = tmp_path / "report.html"
    write_report(path, **{**arguments(), **changes})
    return Page(path.read_text("utf-8"))


def test_report_is_a_whole_page_with_everything_in_it(tmp_path):
    report = page(tmp_path)
    assert report.said("title") == ["Digits"] == report.said("h1")
    assert report.said("h2") == ["Results", "Notes", "Pictures", "Settings"]
    assert report.said("p") == ["First paragraph.", "Second one."]
    assert report.said("td") == [
        "98.2 %", "98.1 %", "0.1235", "–", "64-10", "2.0", "1",
    ]  # fmt: skip
    heads = report.said("th")
    assert heads[:3] == ["float", "integer", "accuracy"]
    assert heads[-3:] == ["model.spec", "model.t_max", "seed"]


def test_report_tells_how_to_read_each_picture(tmp_path):
    figures = arguments()["figures"]
    report = page(tmp_path)
    assert [image["alt"] for image in report.all("img")] == list(figures)
    assert report.said("figcaption") == [f.get_label() for f in figures.values()]
    targets = {link["href"] for link in report.all("a")}
    assert targets == {"#" + figure["id"] for figure in report.all("figure")}


def test_pictures_are_inside_the_file_and_whole(tmp_path):
    for image in page(tmp_path).all("img"):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        root = ElementTree.fromstring(base64.b64decode(data))
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:"))


def test_report_fetches_nothing_and_runs_nothing(tmp_path):
    report = page(tmp_path)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?://|//[a-z]|@import|url\(", html)
    assert report.all("script") == report.all("link") == []
    policy = [m for m in report.all("meta") if "http-equiv" in m]
    assert policy[0]["content"].startswith("default-src 'none'")


def test_hostile_strings_stay_text_wherever_they_stand(tmp_path):
    report = page(
        tmp_path,
        title=HOSTILE,
        table=[{HOSTILE: HOSTILE, "value": HOSTILE}],
        figures={HOSTILE: energy_breakdown({HOSTILE: [1]}, [HOSTILE], (1, 1))},
        notes=HOSTILE,
        settings={HOSTILE: {HOSTILE: HOSTILE}},
    )
    assert report.all("script") == []
    assert len(report.all("img")) == 1
    assert report.all("img")[0]["alt"] == HOSTILE
    for tag in ("title", "h1", "td", "p"):
        assert HOSTILE in report.said(tag)
    assert f"{HOSTILE}.{HOSTILE}" in report.said("th")


def test_report_is_readable_by_day_and_by_night(tmp_path):
    page(tmp_path)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html


def test_equal_arguments_give_equal_bytes(tmp_path):
    write_report(tmp_path / "a.html", **arguments())
    write_report(tmp_path / "b.html", **arguments())
    same = arguments()
    write_report(tmp_path / "c.html", **same)
    write_report(tmp_path / "d.html", **same)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_table_of_names_and_values_has_one_row_each(tmp_path):
    table = {"accuracy": "98 %", "samples": 10_000, "silent": 0.0, "ok": True}
    report = page(tmp_path, table=table, settings=None)
    assert report.said("th") == ["quantity", "value", *table]
    assert report.said("td") == ["98 %", "10,000", "0", "True"]


def test_columns_of_numbers_stand_right(tmp_path):
    table = [{"name": "a", "x": 1.5, "y": "left"}, {"name": "b", "x": None, "y": "3"}]
    report = page(tmp_path, table=table, settings=None)
    assert [cell.get("class") for cell in report.all("td")] == [
        "number", None, "number", None,
    ]  # fmt: skip


def test_values_that_are_no_plain_numbers(tmp_path):
    table = {
        "tensor": torch.tensor(0.25),
        "vector": torch.tensor([1, 2]),
        "nan": float("nan"),
        "silent": float("inf"),
    }
    report = page(tmp_path, table=table, settings=None)
    assert report.said("td") == ["0.25", "tensor([1, 2])", "–", "inf"]


def test_an_empty_report_is_a_page_without_empty_sections(tmp_path):
    report = page(tmp_path, table={}, figures={}, notes=" \n\n ", settings={})
    assert report.said("h1") == ["Digits"]
    assert report.said("h2") == []


def test_a_failed_report_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    for changes, message in (
        ({"figures": {"a": "picture.png"}}, "figure 'a' is a str"),
        ({"table": ["accuracy"]}, "a row of the table is 'accuracy'"),
    ):
        with pytest.raises(TypeError, match=message):
            write_report(path, **{**arguments(), **changes})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_report_replaces_an_older_one_and_makes_folders(tmp_path):
    path = tmp_path / "runs" / "demo" / "report.html"
    for title in ("first", "second"):
        write_report(path, **{**arguments(), "title": title})
    assert "<h1>second</h1>" in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_without_jinja2_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"snn-temporal-plugins\[viz\]"):
        page(tmp_path)
    assert list(tmp_path.iterdir()) == []
