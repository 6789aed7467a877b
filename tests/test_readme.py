"""The README's examples run as they stand, from top to bottom."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
def test_examples_run(tmp_path, monkeypatch):
    for module in ("snntorch", "norse", "nirtorch", "jsonschema"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 4
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(block, names)
    assert (tmp_path / "mnist.bundle" / "manifest.json").is_file()


def test_files_that_the_readme_names_exist():
    for name in re.findall(r"\]\((\w[\w/.]*)\)|(examples/configs/\w+\.yaml)", TEXT):
        assert (ROOT / (name[0] or name[1])).exists(), name


def test_its_numbers_are_those_that_were_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "results")
    import readme

    assert readme.filled(TEXT) == TEXT, "run python results/readme.py"
    with pytest.raises(ValueError, match="nothing writes it"):
        readme.filled(TEXT + "<!-- mood -->good<!-- /mood -->")
    with pytest.raises(ValueError, match="expected"):
        readme.filled(TEXT.replace("<!-- speed -->", ""))
