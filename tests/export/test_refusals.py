"""Every numbered refusal has one line in the documents and is met by some test."""

import re
from pathlib import Path

import pytest

from snn_temporal_plugins.export import errors

EXPORT = Path(errors.__file__).parent
PAGES = [EXPORT / "REFUSALS.md", EXPORT / "bundle" / "SPEC.md"]
TESTS = [path for path in Path(__file__).parent.rglob("*.py")]
LETTERS = {"ExportCode": "E", "BundleCode": "B", "MappingCode": "M", "NirCode": "N"}
CODES = [code for name in LETTERS for code in getattr(errors, name)]


def label(code):
    return f"{LETTERS[type(code).__name__]}{code.value} {code.name}"


def lines():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(r"^\| ([EBMN]\d{3} [A-Z_0-9]+) \|", pages, re.MULTILINE)


def test_the_documents_name_every_code_once_in_order():
    found = lines()
    for letter in "EBMN":
        of_documents = [line for line in found if line.startswith(letter)]
        assert of_documents == [label(c) for c in CODES if label(c)[0] == letter]


@pytest.mark.parametrize("code", CODES, ids=label)
def test_some_test_meets_it(code):
    kind = type(code).__name__
    # design rules of capacities are met by the name of the capacity
    names = rf"\b{kind}\.{code.name}\b|\b{label(code)[:4]}\b"
    if kind == "MappingCode":
        names += rf'|"{code.name.lower()}"'
    assert any(
        re.search(names, path.read_text(encoding="utf-8"))
        for path in TESTS
        if path != Path(__file__)
    )


def test_messages_begin_with_the_number():
    for name, letter in LETTERS.items():
        code = next(iter(getattr(errors, name)))
        error = getattr(errors, name.replace("Code", "Error"))(code, "why")
        assert str(error) == f"{letter}{code.value} {code.name}: why"
        assert error.code is code
