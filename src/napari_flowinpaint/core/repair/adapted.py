"""Weights that were adapted to a stack: found beside it, and only used if they are this stack's.

``flowinpaint adapt`` writes them as ``STACK.adapted.safetensors``. The file tells from which stack
they were learned (its name, shape and type), which released weights they began with, and digests of
some patches of intact tissue. Weights that no longer fit, or are another stack's, are not used, and
the user is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import folders
from ..errors import FlowInpaintError, StoreError
from ..io.beside import kept_beside
from ..names import printable
from ..networks.released import released
from ..networks.weights import read_info
from ..section_repair import pixel_digest
from ..types import Box

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Patches that tell one stack from another: so many, of this side. A repair in place changes some
#: at most, so this share of them is enough.
PROBES, _SIDE, _ENOUGH = 8, 32, 0.5


@dataclass(frozen=True, slots=True)
class AdaptedWeights:
    """What lies beside a stack.

    Parameters
    ----------
    path
        The weights to use; None where there are none.
    note
        Why those that lie there are not used; empty otherwise.
    gain
        What they gained on sections held back, dB of structure PSNR.
    """

    path: Path | None = None
    note: str = ""
    gain: float = 0.0


def adapted_path(stack: Stack) -> Path | None:
    """Return where the adapted weights of a stack lie, whether there are some or not.

    None where the stack is not a file on this computer.
    """
    return kept_beside(stack, folders.ADAPTED)


def identity_of(stack: Stack, places: Sequence[tuple[int, Box]]) -> dict[str, Any]:
    """Return what tells a stack from others, plain JSON.

    Parameters
    ----------
    stack
        The stack.
    places
        Sections and boxes of intact tissue, :data:`PROBES` at most are taken.
    """
    step = max(len(places) // PROBES, 1)
    probes = []
    for z, box in places[::step][:PROBES]:
        y, x = (box.y0 + box.y1 - _SIDE) // 2, (box.x0 + box.x1 - _SIDE) // 2
        inner = Box(max(y, box.y0), max(x, box.x0), min(y + _SIDE, box.y1), min(x + _SIDE, box.x1))
        corners = [inner.y0, inner.x0, inner.y1, inner.x1]
        probes.append([int(z), corners, pixel_digest(stack.read(z, inner))])
    first = released()
    return {
        "shape": list(map(int, stack.shape)),
        "dtype": str(stack.dtype),
        "fixed": [[int(axis), int(index)] for axis, index in stack.levels[0].axes.fixed],
        "probes": probes,
        "released": None if first is None else hashlib.sha256(first.read_bytes()).hexdigest(),
    }


_known: WeakKeyDictionary[Stack, tuple[tuple[Path, int], AdaptedWeights]] = WeakKeyDictionary()


def adapted_weights(stack: Stack) -> AdaptedWeights:
    """Return the adapted weights of a stack, if they lie beside it and are its own.

    What lies there and cannot be trusted, a link for one, is passed over with a note.
    """
    try:
        path = adapted_path(stack)
    except StoreError as error:
        return AdaptedWeights(note=f"{str(error).rstrip('.')}; the released weights are used")
    try:
        changed = None if path is None else path.stat().st_mtime_ns
    except OSError:
        changed = None
    if path is None or changed is None:
        return AdaptedWeights()
    found = _known.get(stack)
    if found is None or found[0] != (path, changed):
        found = ((path, changed), _look(stack, path))
        _known[stack] = found
    return found[1]


def _look(stack: Stack, path: Path) -> AdaptedWeights:
    try:
        told = read_info(path).training.get("adapted")
        why = "does not say which" if not isinstance(told, dict) else _differs(stack, told)
        gain = 0.0 if why else float(told["gain"])  # type: ignore[index]
    except FlowInpaintError as error:
        return AdaptedWeights(note=f"{error}; the released weights are used")
    except (KeyError, TypeError, ValueError):
        why, gain = "does not say which", 0.0
    if why:
        return AdaptedWeights(
            note=f"{printable(path.name)} is not used: it was adapted to another stack or earlier "
            f"weights ({why}); delete it, or run 'flowinpaint adapt' again"
        )
    return AdaptedWeights(path, gain=gain)


def _differs(stack: Stack, told: dict[str, Any]) -> str:
    """Return in what a stack differs from the one that is told of; empty where in nothing."""
    there, now = told["stack"], identity_of(stack, [])
    for key in ("shape", "dtype", "fixed", "released"):
        if there[key] != now[key]:
            return "the released weights" if key == "released" else f"its {key}"
    depth, height, width = stack.shape
    same = 0
    for z, corners, digest in there["probes"]:
        box = Box(*(int(corner) for corner in corners))
        inside = 0 <= z < depth and 0 <= box.y0 < box.y1 <= height and 0 <= box.x0 < box.x1 <= width
        if not inside or box.y1 - box.y0 > _SIDE or box.x1 - box.x0 > _SIDE:
            return "its probes"
        same += pixel_digest(stack.read(z, box)) == digest
    enough = same >= max(np.ceil(_ENOUGH * len(there["probes"])), 1)
    return "" if enough else "its pixels"
