"""Repair damaged sections of volume electron microscopy stacks.

The names below are the public Python API. They are imported on first use, so that importing
the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .core.detection.detect_section import detect_damage
    from .core.detection.detect_stack import detect_stack
    from .core.io.stack import Stack
    from .core.open import open_stack
    from .core.repair.quality import Quality, predict_quality
    from .core.repair.repair_section import repair_section
    from .core.repair_options import RepairOptions
    from .core.section_repair import SectionRepair
    from .core.writing.writeback import history, revert, write_back

_WHERE = {
    "open_stack": "core.open",
    "Stack": "core.io.stack",
    "detect_damage": "core.detection.detect_section",
    "detect_stack": "core.detection.detect_stack",
    "repair_section": "core.repair.repair_section",
    "predict_quality": "core.repair.quality",
    "Quality": "core.repair.quality",
    "write_back": "core.writing.writeback",
    "revert": "core.writing.writeback",
    "history": "core.writing.writeback",
    "RepairOptions": "core.repair_options",
    "SectionRepair": "core.section_repair",
}

__all__ = [
    "Quality",
    "RepairOptions",
    "SectionRepair",
    "Stack",
    "__version__",
    "detect_damage",
    "detect_stack",
    "history",
    "open_stack",
    "predict_quality",
    "repair_section",
    "revert",
    "write_back",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_WHERE[name]}", __name__)
    return getattr(module, name)
