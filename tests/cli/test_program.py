"""The program as a whole: help, unknown commands, errors, lists that are typed."""

from __future__ import annotations

import os

import pytest
from command_line import flowinpaint, refused, repair_arguments

from napari_flowinpaint.cli import run
from napari_flowinpaint.cli._parse import parse_names, parse_numbers, parse_sections
from napari_flowinpaint.core.errors import InputError


def test_error_of_the_program_is_one_line(data):
    process = flowinpaint(*repair_arguments(data, stack="no.zarr"))
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error.count("\n")) == (2, "", 1)


def test_help_is_fast_and_complete():
    help_texts = {}
    seconds = []
    for command in ("", "repair", "revert", "history", "benchmark", "demo"):
        before = os.times()
        process = flowinpaint(*command.split(), "--help")
        help_texts[command], error = process.communicate(timeout=60)
        after = os.times()
        # computed, not waited for the processor: tests run beside it
        seconds.append(after.children_user - before.children_user)
        assert (process.returncode, error) == (0, "")
        assert "Example" in help_texts[command]
    for name in ("repair", "revert", "history", "benchmark", "demo"):
        assert name in help_texts[""]
    assert "Exit codes" in help_texts["repair"]
    assert min(seconds) < 0.6, "torch alone would take longer"


def test_unknown_command_and_bare_call(capsys, tmp_path):
    assert "repair" in refused(capsys, tmp_path, "repare")
    assert run([]) == 0
    assert "Examples:" in capsys.readouterr().out


def test_revert_and_history_refuse(data, capsys):
    assert "no repair to undo" in refused(
        capsys, data, "revert", data / "stack.zarr", "--sections", 2
    )
    assert "does not exist" in refused(capsys, data, "revert", data / "stack.zarr", "--sections", 9)


def test_parse_sections():
    assert parse_sections("3,7-9") == (3, 7, 8, 9)
    assert parse_sections(" 9 , 7-9,3 ", 10) == (3, 7, 8, 9)
    with pytest.raises(InputError, match="sections 0 to 8"):
        parse_sections("9", 9)


def test_parse_numbers_and_names():
    assert parse_numbers("0.1,0.3", "--fractions") == (0.1, 0.3)
    with pytest.raises(InputError, match="--fractions"):
        parse_numbers("0.1;0.3", "--fractions")
    assert parse_names("flow, mean,") == ("flow", "mean")
    with pytest.raises(InputError, match="names nothing"):
        parse_names(" ,")
