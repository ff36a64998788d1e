"""The kinds of damage that are told apart, and the numbers and colours they have in label images.

The numbers are part of the file format: never change or reuse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of damage.

    Parameters
    ----------
    name
        As in tables and options.
    label
        Its integer in a label image, from 1.
    colour
        Red, green, blue, alpha, 0..255.
    words
        What it is, for people.
    """

    name: str
    label: int
    colour: tuple[int, int, int, int]
    words: str


#: All kinds by name. Where two claim a pixel the one that comes first here has it.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("missing", 1, (230, 25, 75, 255), "missing section or region"),
        Kind("copied", 11, (250, 190, 212, 255), "copy of a neighbouring section"),
        Kind("hole", 2, (255, 165, 0, 255), "hole, or a saturated region"),
        Kind("noise", 10, (190, 239, 69, 255), "drowned in noise"),
        Kind("fold", 7, (70, 130, 255, 255), "fold: a dark line"),
        Kind("crack", 8, (0, 220, 220, 255), "crack: a bright line"),
        Kind("dark", 3, (145, 30, 180, 255), "dark debris, precipitate"),
        Kind("bright", 4, (255, 225, 25, 255), "bright debris, charging"),
        Kind("staining", 5, (170, 110, 40, 255), "staining cloud, loss of contrast"),
        Kind("blur", 6, (128, 128, 255, 255), "blurred, out of focus"),
        Kind("misaligned", 9, (60, 180, 75, 255), "shifted, rotated, or from elsewhere"),
    )
}

#: Kinds whose tissue is displaced: ``auto`` repairs them by "unfold".
UNFOLDED = ("fold", "crack")


def image_label() -> dict[str, Any]:
    """Return what an NGFF label image of kinds says of its values (``image-label``)."""
    kinds = KINDS.values()
    return {
        "version": "0.5",
        "colors": [{"label-value": kind.label, "rgba": list(kind.colour)} for kind in kinds],
        "properties": [
            {"label-value": kind.label, "kind": kind.name, "description": kind.words}
            for kind in kinds
        ],
    }
