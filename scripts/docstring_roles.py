"""Show Sphinx roles in docstrings as plain names in the documentation, which is Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`(?:[^`<]*<)?(~?)\.?([\w.]+)>?`")


def plain(text: str) -> str:
    """Return text with ``:class:`~package.module.Name``` turned into ``Name`` in code type."""
    return _ROLE.sub(
        lambda found: f"`{found[2].rpartition('.')[2] if found[1] else found[2]}`", text
    )


class Roles(griffe.Extension):
    """Rewrites the docstring of every object that the documentation shows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)
