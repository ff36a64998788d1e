"""A picture of one repair: damaged, both references, result, truth, error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..methods import Method
from ..metrics import black, data_range
from ..types import AnyImage, BoolImage, Box
from .cases import BenchmarkCase, cases, damaged_sections, run_method, whole
from .peers import LEARNED_PEERS, PEERS

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..io.stack import Stack

#: Pixels of a side of a panel, between panels, and of a line of text.
_SIDE, _GAP, _LINE = 224, 6, 22
_COLUMNS = 3
#: Grey levels of the file; grain makes large ones.
_LEVELS = 64
#: Error that is drawn white, as a share of the grey range.
_WHITE = 0.5


def figure_method(methods: Sequence[str], extra: Sequence[tuple[str, Method]] = ()) -> str | None:
    """Return the label of the method to draw: the first that is not a peer, or None."""
    labels = [name for name in methods if name not in PEERS | LEARNED_PEERS] + [
        label for label, _ in extra
    ]
    return labels[0] if labels else None


def draw_figure(
    stack: Stack,
    label: str,
    *,
    method: Method | None = None,
    spacing: int = 1,
    fraction: float = 0.3,
    shape: str = "irregular",
    sections: Sequence[int] | None = None,
    seed: int = 0,
    neighbours: int = 2,
    device: str = "auto",
) -> Image:
    """Repair the first damaged section of a benchmark once more, and draw its stages.

    Parameters
    ----------
    stack
        A stack without damage.
    label
        Name of the method.
    method
        The method itself if it has no registered name.
    spacing, fraction, shape, sections, seed, neighbours, device
        As for :func:`~napari_flowinpaint.core.benchmark.run_benchmark`.

    Returns
    -------
    PIL.Image.Image
        Six panels, cut around the deepest point of the mask, with names and a caption.

    Raises
    ------
    RepairRefused
        Where the method refuses this section.
    """
    damaged = damaged_sections(stack.shape[0], spacing, sections)
    case = next(cases(stack, damaged, spacing, shape, fraction, 1, seed, neighbours))
    repair = run_method(case, method or label, device)
    initial, refined, result = (
        whole(repair, name, case.truth)
        for name in ("initial_reference", "refined_reference", "result")
    )
    panels = {
        "damaged": np.where(case.mask, np.uint8(255), _grey(case, case.truth)),
        "initial reference": _grey(case, initial),
        "refined reference": _grey(case, refined),
        f"result ({label})": _grey(case, result),
        "truth": _grey(case, case.truth),
        "error": _error(case, result),
    }
    box = _view(case.mask)
    caption = (
        f"{stack.name}, section {case.z}, {shape} mask of {fraction:.0%}; error: black is none, "
        f"white {_WHITE:.0%} of the grey range"
    )
    return _assemble({name: panel[box.slices] for name, panel in panels.items()}, caption)


def _grey(case: BenchmarkCase, section: AnyImage) -> npt.NDArray[np.uint8]:
    """Return a section in the grey values of a screen, black to white as the truth has them."""
    span = data_range(case.truth)
    stretched = (section.astype(np.float32) - black(case.truth)) * (255 / span)
    return np.clip(np.rint(stretched), 0, 255).astype(np.uint8)


def _error(case: BenchmarkCase, result: AnyImage) -> npt.NDArray[np.uint8]:
    """Return the absolute error."""
    error = np.abs(result.astype(np.float32) - case.truth.astype(np.float32))
    return np.clip(error * (255 / (_WHITE * data_range(case.truth))), 0, 255).astype(np.uint8)


def _view(mask: BoolImage) -> Box:
    """Return what is shown of a section: around the pixel deepest inside the mask."""
    import cv2

    away = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = np.unravel_index(int(np.argmax(away)), mask.shape)
    sides = [min(_SIDE, n) for n in mask.shape]
    y, x = (
        int(np.clip(middle - side // 2, 0, n - side))
        for middle, side, n in zip(deepest, sides, mask.shape, strict=True)
    )
    return Box(y, x, y + sides[0], x + sides[1])


def _assemble(panels: dict[str, npt.NDArray[np.uint8]], caption: str) -> Image:
    """Return panels of one size in rows, their names above, the caption below all."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = next(iter(panels.values())).shape
    rows = -(-len(panels) // _COLUMNS)
    size = (_COLUMNS * (width + _GAP) - _GAP, rows * (height + _LINE) + _LINE)
    picture = Image.new("L", size, 255)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for number, (name, panel) in enumerate(panels.items()):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (width + _GAP), row * (height + _LINE)
        draw.text((left + width / 2, top + _LINE / 2), name, 0, font, anchor="mm")
        picture.paste(Image.fromarray(panel), (left, top + _LINE))
    middle = (size[0] / 2, size[1] - _LINE / 2)
    small = ImageFont.load_default(size=min(13, 13 * size[0] / font.getlength(caption) * 0.98))
    draw.text(middle, caption, 0, small, anchor="mm")
    return picture.quantize(_LEVELS)
