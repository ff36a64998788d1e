"""``describe`` and ``originals``, once their options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.notes import Notes
from ._commands import open_and_say
from ._console import DONE, print_line, print_note, progress_bar
from ._parse import check_file

_TEXTS, _FIGURES = (".md", ".tex"), (".png", ".pdf")


def describe_repairs(
    path: str,
    output: Path | None,
    figure: Path | None,
    ro_crate: bool,
    overwrite: bool,
    opening: Mapping[str, Any],
) -> int:
    """Print or write what was repaired; return the exit code."""
    from ..core.crate import write_crate
    from ..core.description import as_latex, as_markdown, describe_stack
    from ..core.description.repair_figure import draw_repairs

    _check(output, "--output", _TEXTS, overwrite)
    _check(figure, "--figure", _FIGURES, overwrite)
    stack = open_and_say(path, opening)
    description = describe_stack(stack)
    latex = output is not None and output.suffix == ".tex"
    text = as_latex(description) if latex else as_markdown(description)
    if figure is not None:
        draw_repairs(stack, description).save(figure)
        print_line(f"written: {figure}")
    if ro_crate:
        print_line(f"written: {write_crate(stack, stack.name, overwrite=overwrite)}")
    if output is not None:
        output.write_text(text, encoding="utf-8")
        print_line(f"written: {output}")
        return DONE
    if figure is None and not ro_crate:
        for line in text.splitlines():
            print_line(line)
    return DONE


def _check(file: Path | None, option: str, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a file that cannot be written, or should not be."""
    if file is None:
        return
    if file.suffix not in suffixes:
        raise InputError(f"{file} must end in {' or '.join(suffixes)}.")
    check_file(file, option)
    if file.exists() and not overwrite:
        raise InputError(f"{file} exists; choose another name or add --overwrite.")


def write_originals(path: str, output: Path, overwrite: bool, opening: Mapping[str, Any]) -> int:
    """Write a stack without its repairs; return the exit code."""
    from ..core.export import save_originals

    stack = open_and_say(path, opening)
    with progress_bar("originals") as progress:
        save_originals(
            stack, output, overwrite=overwrite, progress=progress, note=Notes(print_note)
        )
    print_line(f"written: {output}")
    return DONE
