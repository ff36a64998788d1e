"""Where a section was imaged, as lines to draw; a function that runs in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.types import Progress, no_progress

if TYPE_CHECKING:
    from ...core.io.stack import Stack

Outline = tuple[npt.NDArray[np.float32], ...]

#: A section without a coarse level is read for its outline up to this many pixels.
_LARGEST = 4096 * 4096
#: Lines of more points than this, in all, would be slow to draw.
_MOST_POINTS = 4000


def outline(stack: Stack, z: int, *, progress: Progress = no_progress) -> Outline:
    """Return the border of what was imaged of a section, from a coarse level of the pyramid.

    Parameters
    ----------
    stack
        The stack.
    z
        Section number.
    progress
        Not called: it takes a moment.

    Returns
    -------
    Outline
        Closed lines, (N, 2) float32 each, y and x in pixels of the full resolution; empty where all
        was imaged, and where a large section would have to be read as a whole.

    Raises
    ------
    StackGone
        If the stack is no longer where it was opened.
    """
    import cv2

    from ...core.detection.features.working_level import read_working, working_factor
    from ...core.io.still_there import check_there

    check_there(stack)
    shape = (stack.shape[1], stack.shape[2])
    if len(stack.levels) == 1 and shape[0] * shape[1] > _LARGEST:
        return ()
    factor = working_factor(shape)
    imaged = read_working(stack, z, factor).imaged
    if imaged is None or not imaged.any():
        return ()
    found, _ = cv2.findContours(imaged.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    lines = [cv2.approxPolyDP(line, 0.7, True)[:, 0] for line in found if len(line) > 2]
    lines = sorted((line for line in lines if len(line) > 2), key=len, reverse=True)
    kept = np.cumsum([len(line) for line in lines]) <= _MOST_POINTS
    centre = (factor - 1) / 2
    return tuple(
        (np.concatenate([line, line[:1]])[:, ::-1] * factor + centre).astype(np.float32)
        for line, few in zip(lines, kept, strict=True)
        if few
    )
