"""Write what was repaired in a stack: the text of a methods section, and a figure beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import InputError
from ...core.types import Progress

if TYPE_CHECKING:
    from ...core.io.stack import Stack


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the files of the text and of the figure for a path that was chosen."""
    text = path if path.suffix in (".md", ".tex") else path.with_name(path.name + ".md")
    return text, text.with_suffix(".pdf" if text.suffix == ".tex" else ".png")


def describe(stack: Stack, path: Path, *, progress: Progress) -> tuple[Path, Path]:
    """Write text (Markdown, or LaTeX where ``path`` ends so) and figure; return their files.

    Raises
    ------
    InputError
        If nothing was repaired, or the files cannot be written there.
    """
    from ...core.description import as_latex, as_markdown, describe_stack
    from ...core.description.repair_figure import draw_repairs

    text, figure = files_of(path)
    progress(0.0, "reading what was repaired")
    description = describe_stack(stack)
    picture = draw_repairs(stack, description)
    words = as_latex(description) if text.suffix == ".tex" else as_markdown(description)
    progress(1.0, f"writing {text.name}")
    try:
        text.write_text(words, encoding="utf-8")
        picture.save(figure)
    except OSError as error:
        raise InputError(
            f"{text} cannot be written ({error.strerror}); choose another folder."
        ) from error
    return text, figure
