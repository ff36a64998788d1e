"""Repair methods, one per file, found by name.

The table maps a name to ``module:class``; a method is imported when it is asked for, so that
listing the methods costs nothing.
"""

from __future__ import annotations

import importlib

from ..errors import InputError
from .method import Method

__all__ = [
    "ALONE",
    "Method",
    "available_methods",
    "check_method",
    "get_method",
    "most_neighbours",
]

_METHODS = {
    "flow": "flow:FlowMethod",
    "flowinpaint": "flowinpaint:FlowInpaintMethod",
    "flowinpaint-paper": "paper:PaperMethod",
    "one_neighbour": "one_neighbour:OneNeighbourMethod",
    "unfold": "unfold:UnfoldMethod",
    "unfold-paper": "unfold_paper:PaperUnfoldMethod",
    "single_section": "single_section:SingleSectionMethod",
    "gap_patches": "gap_patches:GapPatchesMethod",
}

#: Methods that use the section alone; users who choose one are asked to confirm.
ALONE = ("single_section",)


def available_methods() -> tuple[str, ...]:
    """Return the names of all methods, without ``"auto"``."""
    return tuple(_METHODS)


def check_method(name: str) -> None:
    """Raise :class:`InputError` unless ``name`` is ``"auto"`` or a known method."""
    if name != "auto" and name not in _METHODS:
        known = ", ".join(("auto", *_METHODS))
        raise InputError(f"unknown method '{name}'; choose one of: {known}")


def get_method(name: str) -> Method:
    """Return a new instance of the method called ``name``.

    Raises
    ------
    InputError
        If there is no such method.
    """
    check_method(name)
    module, attribute = _METHODS[name].split(":")
    method: Method = getattr(importlib.import_module(f".{module}", __name__), attribute)()
    return method


def most_neighbours(method: Method) -> int:
    """Return how many neighbours a method uses: two, unless it says otherwise."""
    return int(getattr(method, "most_neighbours", 2))
