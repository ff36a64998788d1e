"""Masks from files and from layers, opened in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.masks.mask_choice import MaskChoice
from ...core.masks.outlines import Outline, OutlineMasks
from ...core.masks.section_masks import MaskImages
from ...core.masks.stack_mask import StackMask
from ...core.types import Box, Progress

if TYPE_CHECKING:
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SectionTiles, SparseMask


@dataclass(frozen=True, eq=False)
class MaskRequest:
    """What a mask is opened for; it does not change while the user continues.

    Parameters
    ----------
    stack
        The stack.
    section
        The section that is shown: a single image belongs to it.
    choice
        Which values are damage.
    under
        The current mask, frozen: masks of some sections are put into it. None without one.
    dataset
        Name of the mask in a file that holds several; None where it holds one.
    """

    stack: Stack
    section: int | None
    choice: MaskChoice
    under: SparseMask | None
    dataset: str | None = None


@dataclass(frozen=True, eq=False)
class LayerMask:
    """The mask in a layer.

    Parameters
    ----------
    name
        Of the layer.
    array
        Its pixels, (Z, Y, X), (Y, X), or colours with a further last axis; None for outlines.
    rgb
        Whether it has colours.
    outlines
        By section, of a layer of shapes.
    kinds
        The kinds of damage that its values stand for, where it says so.
    notes
        What was left out.
    """

    name: str
    array: Any = None
    rgb: bool = False
    outlines: Mapping[int, Sequence[Outline]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kinds: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OpenedMask:
    """A mask that was opened.

    Parameters
    ----------
    mask
        The mask.
    tiles
        New tiles of the current mask in these sections; None if it is a complete mask itself.
    """

    mask: StackMask
    tiles: Mapping[int, SectionTiles] | None = None


def from_file(path: str, request: MaskRequest, *, progress: Progress) -> OpenedMask:
    """Open a mask from a file or folder; see :func:`~.core.mask_files.open_damage`."""
    from ...core.mask_files import open_damage

    progress(0.0, f"opening {path}")
    mask = open_damage(
        path,
        request.stack,
        dataset=request.dataset,
        shown=request.section,
        choice=request.choice,
        sample=True,
    )
    return _opened(mask, request)


def from_layer(layer: LayerMask, request: MaskRequest, *, progress: Progress) -> OpenedMask:
    """Make a mask of a layer."""
    from ...core.errors import InputError
    from ...core.mask_files import picture_values
    from ...core.masks.check_mask import check_mask, sample_of

    progress(0.0, f"reading layer {layer.name}")
    shape, notes = request.stack.shape, layer.notes
    levels = [level.shape for level in request.stack.levels]
    source: Any
    if layer.array is None:
        source = OutlineMasks(layer.outlines, shape[1:])
    else:
        source = layer.array
        if layer.rgb:
            source, notes = picture_values(np.asarray(source), layer.name)
        if source.ndim == 2:
            if request.section is None:
                raise InputError("no section is shown; move the slider to the one of the mask.")
            source = MaskImages({request.section: np.asarray(source)}, source.shape)
        elif not isinstance(source, np.ndarray):
            source = _Volume(source)
    mask = StackMask(source, shape, request.choice, levels, notes, layer.kinds)
    mask.notes += check_mask(mask, sample_of(mask, request.section))
    return _opened(mask, request)


class _Volume:
    """The lazy array of a layer, read section by section."""

    def __init__(self, array: Any) -> None:
        from ...core.io.levels import Level

        self.shape = tuple(int(n) for n in array.shape)
        self.levels = (getattr(array, "level", None) or Level(array),)

    def read(self, z: int, box: Box | None = None) -> Any:
        """Return one section, or a box of it."""
        return self.levels[0].read(z, box)


def _opened(mask: StackMask, request: MaskRequest) -> OpenedMask:
    """Put masks of some sections into the current mask."""
    if mask.sections is None or request.under is None:
        return OpenedMask(mask)
    tiles = {}
    whole = Box.whole(mask.shape[1:])
    for z in mask.sections:
        tiles[z] = request.under.paste(z, whole, mask.read(z).astype(np.uint8))
    return OpenedMask(mask, tiles)
