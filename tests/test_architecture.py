"""The house: imports point downwards, frameworks stay at the rim, the core is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import snn_temporal_plugins

ROOT = Path(snn_temporal_plugins.__file__).parent
LAYER = {
    "kernels": 0,
    "functional": 1,
    "rules": 2,
    "neurons": 3,
    "testing": 4,
    "adapters": 4,
    "training": 4,
    "export": 4,
    "viz": 4,
    "commands": 5,
    "cli": 6,
}
# the two edges between rooms of layer 4 that DESIGN.md asks for: callbacks draw, and
# a registered host exports through us
ALLOWED = {("training", "viz"), ("adapters", "export")}
FRAMEWORKS = {"snntorch", "norse", "lightning", "torchmetrics", "nir", "nirtorch"}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module
            if node.module == "snn_temporal_plugins":
                yield from (
                    f"snn_temporal_plugins.{alias.name}" for alias in node.names
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    room = path.relative_to(ROOT).with_suffix("").parts[0]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in FRAMEWORKS:
            assert LAYER[room] >= 4, f"{path} imports {name}"
        if parts[0] != "snn_temporal_plugins" or len(parts) < 2 or room == "__init__":
            continue
        other = parts[1]
        if other in LAYER and other != room and (room, other) not in ALLOWED:
            assert LAYER[other] < LAYER[room], f"{path} imports {name}"


def test_rules_do_not_import_each_other():
    for path in (ROOT / "rules").glob("*.py"):
        if path.name == "__init__.py":
            continue
        assert not [
            n for n in imports(path) if n.startswith("snn_temporal_plugins.rules")
        ]


def test_the_core_needs_torch_and_numba_alone():
    program = (
        "import sys, snn_temporal_plugins\n"
        "heavy = {'snntorch', 'norse', 'lightning', 'nir', 'nirtorch', 'matplotlib',"
        " 'torchmetrics', 'sklearn', 'pandas', 'jsonschema', 'h5py'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_has_a_docstring():
    for name in snn_temporal_plugins.__all__:
        thing = getattr(snn_temporal_plugins, name)
        if callable(thing):
            assert thing.__doc__, name
