"""Command lines that messages propose and the window copies: they work as pasted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..names import quoted


def command_words(verb: str, path: object, options: Mapping[str, Any]) -> list[str]:
    """Return the words of a ``flowinpaint`` command, as a shell takes them.

    Parameters
    ----------
    verb
        The command.
    path
        Of the stack.
    options
        By name, with ``_`` for ``-``; None and False are left out, True has no value, several
        values are separated by commas.
    """
    words = ["flowinpaint", verb, quoted(path)]
    for option, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{option.replace('_', '-')}")
        if value is not True:
            several = isinstance(value, tuple | list)
            text = ",".join(f"{n:g}" for n in value) if several else str(value)
            words.append(quoted(text))
    return words


def listed_sections(sections: tuple[int, ...]) -> str:
    """Return sections as ``--sections`` takes them: ``3,7-9``."""
    runs: list[list[int]] = []
    for z in sorted(set(sections)):
        if runs and runs[-1][1] == z - 1:
            runs[-1][1] = z
        else:
            runs.append([z, z])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
