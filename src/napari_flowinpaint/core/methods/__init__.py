"""Repair methods, one per file, found by name.

The table maps a name to ``module:class``; a method is imported when it is asked for, so that
listing the methods costs nothing.
"""

from __future__ import annotations

import importlib

from ..errors import InputError
from .method import Method

__all__ = ["Method", "available_methods", "choose_method", "get_method"]

_METHODS = {
    "flow": "flow:FlowMethod",
    "flowinpaint": "flowinpaint:FlowInpaintMethod",
    "flowinpaint-paper": "paper:PaperMethod",
    "unfold": "unfold:UnfoldMethod",
    "unfold-paper": "unfold_paper:PaperUnfoldMethod",
}

#: ``auto`` takes the first of these that has enough neighbours and the weights it needs.
_PREFERENCE = ("flowinpaint", "flow")


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


def choose_method(name: str, neighbours: int) -> Method | None:
    """Return the method to use with so many usable neighbours, or None if none can.

    Parameters
    ----------
    name
        A method's name, or ``"auto"``.
    neighbours
        Number of usable neighbours, 0 to 2.
    """
    candidates = _PREFERENCE if name == "auto" else (name,)
    for candidate in candidates:
        method = get_method(candidate)
        if method.neighbours <= neighbours and (name != "auto" or method.ready()):
            return method
    return None
