"""Words of the window: no options and commands of the command line, lists that end with and."""

import ast
import re
from pathlib import Path

import pytest

import napari_flowinpaint
from napari_flowinpaint.widgets.parts.wording import in_window, listed

SOURCE = Path(napari_flowinpaint.__file__).parent
#: Never called from the window.
ELSEWHERE = ("core/benchmark", "core/training", "core/networks")


def texts(path):
    """Yield the texts of a module that are no docstrings, with commands where they are put in."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = []
            for part in node.values:
                if isinstance(part, ast.Constant):
                    parts.append(part.value)
                else:
                    code = ast.unparse(part)
                    parts.append("`flowinpaint recover S`" if "command" in code else "X")
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def messages():
    for folder in ("core", "viewer", "widgets"):
        for path in sorted((SOURCE / folder).rglob("*.py")):
            name = path.relative_to(SOURCE).as_posix()
            if not name.startswith(ELSEWHERE) and path.name != "wording.py":
                for text in texts(path):
                    if " " in text.strip() and not text.startswith("--"):
                        yield name, text


def test_the_window_speaks_no_command_line():
    wrong = [
        (name, in_window(text))
        for name, text in messages()
        if re.search(r"(?<!\w)--[a-z]|`flowinpaint|max_gap is|allow_external", in_window(text))
    ]
    assert not wrong


def test_lists_end_with_and():
    assert [listed(range(n)) for n in (1, 2, 3)] == ["0", "0 and 1", "0, 1 and 2"]


def test_a_sentence_that_ends_in_a_button_has_one_full_stop():
    assert in_window("it is full; use --output.") == "it is full; use Save as OME-Zarr…"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            "a.zarr exists; choose another name or overwrite it (--overwrite).",
            "a.zarr exists; choose another name.",
        ),
        (
            "a.staging is not a staging folder made by flowinpaint, so nothing in it is changed or "
            "removed; move it away, or choose another folder.",
            "a.staging is not a staging folder made by flowinpaint, so nothing in it is changed or "
            "removed; move it away.",
        ),
    ],
)
def test_the_window_advises_nothing_that_it_cannot_do(told, shown):
    assert in_window(told) == shown
