"""A figure of repairs: the section as acquired, as it is now, and what of it is synthetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..disk.open_root import open_root
from ..errors import InputError
from ..types import AnyImage, Box
from ..writing.entries import DISPLACED
from ..writing.journal import Journal
from ..writing.replay import EarlierRepairs
from ..writing.synthetic import read_labels
from .describe import Description, RepairedSection

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..io.stack import Stack

#: Pixels of a side of a panel, between panels, and of a line of text; all at 1:1.
_SIDE, _GAP, _LINE = 256, 6, 22
_NAMES = ("as acquired", "repaired", "synthetic")
_COLOURS = {"synthetic": (63, 167, 255), "displaced": (255, 211, 77)}
#: Share of the colour over synthetic pixels.
_OPACITY = 0.45
#: Rows of a figure.
MOST_ROWS = 6

_Rgb = npt.NDArray[np.uint8]


def draw_repairs(stack: Stack, description: Description) -> Image:
    """Draw the largest repairs of a stack, one row each.

    Parameters
    ----------
    stack
        The stack.
    description
        What :func:`~.describe.describe_stack` found in it.

    Returns
    -------
    PIL.Image.Image
        RGB; at most :data:`MOST_ROWS` rows of three panels, one pixel per pixel of the stack.

    Raises
    ------
    InputError
        If nothing was repaired.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not description.sections:
        raise InputError(f"nothing of {stack.name} was repaired, so there is nothing to draw.")
    largest = sorted(description.sections, key=lambda s: -s.synthetic)[:MOST_ROWS]
    rows = [(section, _panels(stack, section)) for section in sorted(largest, key=lambda s: s.z)]
    height, width = rows[0][1][0].shape[:2]
    size = (3 * (width + _GAP) - _GAP, len(rows) * (height + _LINE) + _LINE)
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for number, (section, panels) in enumerate(rows):
        top = number * (height + _LINE)
        for column, panel in enumerate(panels):
            left = column * (width + _GAP)
            picture.paste(Image.fromarray(panel), (left, top + _LINE))
            name = _NAMES[column]
            text = f"section {section.z}, {name}" if column == 0 else name
            draw.text((left + width / 2, top + _LINE / 2), text, "black", font, anchor="mm")
    caption = f"{stack.name}; blue is synthetic, yellow is the section's own, moved"
    place = (size[0] / 2, size[1] - _LINE / 2)
    draw.text(place, caption, "black", font, anchor="mm")
    return picture


def _panels(stack: Stack, section: RepairedSection) -> tuple[_Rgb, _Rgb, _Rgb]:
    """Return the three panels of a section, around its largest repaired window."""
    boxes = [box for repair in section.repairs for box in repair.boxes]
    largest = max(boxes, key=lambda b: (b.y1 - b.y0) * (b.x1 - b.x0))
    view = _view(largest, stack.shape[1:])
    now, before = stack.read(section.z, view), EarlierRepairs(stack).original(section.z, view)
    low, high = (float(n) for n in np.percentile(now, (0.5, 99.5)))
    grey = [_grey(pixels, low, high) for pixels in (before, now)]
    return grey[0], grey[1], _marked(grey[1], _marks(stack, section.z, view))


def _view(box: Box, shape: tuple[int, int]) -> Box:
    """Return what is shown: as large as a panel, about the centre of a box."""
    sides = [min(_SIDE, n) for n in shape]
    middles = ((box.y0 + box.y1) // 2, (box.x0 + box.x1) // 2)
    y, x = (
        int(np.clip(middle - side // 2, 0, n - side))
        for middle, side, n in zip(middles, sides, shape, strict=True)
    )
    return Box(y, x, y + sides[0], x + sides[1])


def _grey(pixels: AnyImage, low: float, high: float) -> _Rgb:
    stretched = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    grey = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _marks(stack: Stack, z: int, view: Box) -> AnyImage | None:
    journal = Journal.of(stack)
    if journal is None:
        return None
    with open_root(journal.root) as root:
        labels = read_labels(root, stack.levels)
    return None if labels is None else labels.read(z, view)


def _marked(grey: _Rgb, marks: AnyImage | None) -> _Rgb:
    """Return a panel with the synthetic pixels coloured."""
    out = grey.astype(np.float32)
    if marks is not None:
        for name, where in (
            ("synthetic", (marks > 0) & (marks < DISPLACED)),
            ("displaced", marks > DISPLACED),
        ):
            out[where] += _OPACITY * (np.array(_COLOURS[name]) - out[where])
    return np.rint(out).astype(np.uint8)
