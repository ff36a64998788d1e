"""The commands with their options, in the order in which ``--help`` lists them.

What they do is imported when one runs, so that ``flowinpaint --help`` answers at once.
"""

from __future__ import annotations

# isort: off
from . import _app_repair, _app_stack, _app_methods

# isort: on
from ._program import app

__all__ = ["_app_methods", "_app_repair", "_app_stack", "app"]
