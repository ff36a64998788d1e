"""Words of the window: no options and commands of the command line, lists that end with and."""

import ast
import re
from pathlib import Path

import pytest

import napari_flowinpaint
from napari_flowinpaint.widgets.parts.messages import as_sentence
from napari_flowinpaint.widgets.parts.wording import in_window, listed

SOURCE = Path(napari_flowinpaint.__file__).parent
#: Never called from the window.
ELSEWHERE = ("core/benchmark", "core/training", "core/networks")
#: What whole sentences are given to, and what is given something else: the place of the argument.
SENTENCES = {"InputError": 0, "StoreError": 0, "setToolTip": 0, "Column": 1}
NO_SENTENCES = {
    "QPushButton": 0,
    "QCheckBox": 0,
    "QGroupBox": 0,
    "addAction": 0,
    "addTab": 1,
    "setWindowTitle": 0,
    "progress": 1,
}


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


def is_of_tips(node):
    return (
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).strip("_").lower() == "tips"
    )


def given_to(calls):
    """Yield the texts that some functions are called with, "X" for what is put into them.

    Tool tips are also listed in dictionaries and tuples of that name.
    """
    for folder in ("viewer", "widgets", "cli", "core/training"):
        for path in sorted((SOURCE / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                found = []
                if isinstance(node, ast.Call):
                    place = calls.get(ast.unparse(node.func).rpartition(".")[2])
                    found = [] if place is None else node.args[place : place + 1]
                elif "setToolTip" in calls and is_of_tips(node):
                    found = getattr(node.value, "values", None) or node.value.elts
                for text in found:
                    if isinstance(text, ast.Constant) and text.value:
                        yield path.name, text.value
                    elif isinstance(text, ast.JoinedStr):
                        parts = (getattr(part, "value", "X") for part in text.values)
                        yield path.name, "".join(p if isinstance(p, str) else "X" for p in parts)


def test_whole_sentences_end_with_a_full_stop():
    texts_given = list(given_to(SENTENCES))
    assert len(texts_given) > 200
    assert not [found for found in texts_given if not found[1].endswith((".", "?", "…"))]


def test_labels_titles_and_progress_have_no_full_stop():
    texts_given = list(given_to(NO_SENTENCES))
    assert len(texts_given) > 80
    assert not [found for found in texts_given if found[1].endswith(".")]


def test_what_is_said_becomes_sentences():
    assert (
        as_sentence("section 3: repaired\nnote: it has\n") == "Section 3: repaired.\nNote: it has."
    )
    assert as_sentence("which one?") == "Which one?"
    assert as_sentence("looking…") == "Looking…"
    assert as_sentence("it is full; use --output.") == "It is full; use Save as OME-Zarr…"
    assert as_sentence("") == ""


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
