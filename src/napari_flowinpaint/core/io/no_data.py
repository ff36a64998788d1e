"""No data: pixels of a section where nothing was imaged.

Aligned stacks are padded where a section does not reach, with a border that changes from section to
section; other programs write NaN, or a value of their own. Such pixels are neither intact nor
damaged. What counts as not imaged is decided here, and nowhere else:

* NaN and infinite pixels;
* pixels of the value that somebody declared, wherever they are;
* constant regions that lie along the border of the section. Any value will do, and there may be
  several. Padding meets the border on a length like its own; tissue that is saturated does not,
  nor is it constant without a gap;
* constant regions of the file's fill value, where that is not zero, that touch the border.

A section that is constant as a whole is a missing one, and not no data.

A part that was never written, such as a chunk of a zarr that does not exist, reads as the file's
fill value. Within the tissue it is damage: a tile that was lost, which the neighbours show.

Constant regions are found by :mod:`.border_regions`; :mod:`.stack_no_data` asks for parts of
sections, and reads more where it has to.

Not responsible for: which pixels are damaged, or who may look at them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..filters import run_lengths
from ..types import AnyImage, BoolImage
from .border_regions import ALL_SIDES, EDGES, border_regions

#: No data of which so much is masked, and that is so much of the mask or ends with it, is what the
#: mask outlines.
_OUTLINED, _MOSTLY = 0.95, 0.5
#: Masked no data no wider than this, with tissue on both sides, is damage.
_WIDEST_STRIPE = 14
#: Pixels beside a mask that count as masked there.
_BESIDE = 3


def imaged_pixels(
    pixels: AnyImage, declared: float | None = None, fill: float | None = None
) -> BoolImage:
    """Return where a whole section, of any resolution, was imaged.

    Parameters
    ----------
    pixels
        (Y, X), any number dtype.
    declared
        A value that means no data.
    fill
        The fill value of the file; None where it has none.

    Returns
    -------
    BoolImage
        (Y, X), False where there is no data; all True where the section is one constant value.
    """
    imaged = not_void(pixels, declared)
    if is_constant(pixels):
        return np.ones_like(imaged)
    for region in border_regions(pixels, imaged, ALL_SIDES, fill):
        if region.padding:
            imaged[region.box.slices] &= ~region.mask
    return imaged


def mirror_tissue(pixels: AnyImage, imaged: BoolImage) -> AnyImage:
    """Return a section with its tissue mirrored at the border into where nothing was imaged.

    So that no edge is left, and statistics over all of it are those of tissue.

    Parameters
    ----------
    pixels
        (Y, X), any dtype.
    imaged
        (Y, X) bool.
    """
    from scipy.ndimage import distance_transform_edt

    if imaged.all() or not imaged.any():
        return pixels if imaged.all() else np.zeros_like(pixels)
    nearest = distance_transform_edt(~imaged, return_distances=False, return_indices=True)
    places = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    mirrored = [
        np.clip(2 * near - place, 0, side - 1)
        for near, place, side in zip(nearest, places, pixels.shape, strict=True)
    ]
    there = imaged[tuple(mirrored)]
    y, x = (np.where(there, far, near) for far, near in zip(mirrored, nearest, strict=True))
    return np.asarray(pixels[y, x])


def padding_of(imaged: BoolImage, mask: BoolImage) -> BoolImage:
    """Return which pixels are no data, and not damage that looks like it.

    What a mask outlines is damage, though it be constant up to the border: a lost corner, say. So
    is NaN in the midst of tissue, and a masked stripe between tissue on both sides, though it run
    into padding of the same value.

    Parameters
    ----------
    imaged
        (H, W) bool, of a box with the mask and some pixels around it.
    mask
        (H, W) bool, True = damaged.
    """
    void = ~imaged
    if not void.any():
        return void
    from scipy.ndimage import binary_dilation

    # saturated tissue beside a hole of the same value belongs to it
    masked = binary_dilation(mask, np.ones((3, 3), bool), iterations=_BESIDE)
    names = _touching(void)
    sizes = np.bincount(names.ravel())
    covered = np.bincount(names[masked], minlength=sizes.size)
    beyond = np.zeros(sizes.size, dtype=bool)  # goes on where nobody has masked it
    for edge in EDGES:
        beyond[names[edge][~masked[edge]]] = True
    mostly = covered >= _MOSTLY * np.count_nonzero(mask)
    outlined = (covered >= _OUTLINED * sizes) & (mostly | ~beyond)
    narrow = np.minimum(run_lengths(void, 0), run_lengths(void, 1)) <= _WIDEST_STRIPE
    return np.asarray(void & ~outlined[names] & ~enclosed(imaged) & ~(narrow & mask))


def enclosed(imaged: BoolImage) -> BoolImage:
    """Return the gaps in what was imaged that do not reach an edge of the image.

    NaN in the midst of tissue is such a gap: what was lost there can be repaired.
    """
    if imaged.all():
        return np.zeros_like(imaged)
    names = _touching(~imaged)
    outer = np.unique(np.concatenate([names[edge] for edge in EDGES]))
    return np.asarray(~imaged & ~np.isin(names, outer))


def _touching(void: BoolImage) -> npt.NDArray[np.int32]:
    """Return the number of the part of no data, parts that touch at a corner being one."""
    from scipy.ndimage import label

    names, _ = label(void, np.ones((3, 3), bool))
    return np.asarray(names, dtype=np.int32)


def not_void(pixels: AnyImage, declared: float | None) -> BoolImage:
    """Return which pixels are finite numbers, and not the declared value."""
    good = np.ones(pixels.shape, dtype=bool)
    if pixels.dtype.kind == "f":
        good = np.isfinite(pixels)
    if declared is not None and np.isfinite(declared):
        good &= pixels != declared
    return good


def is_constant(pixels: AnyImage) -> bool:
    """Return whether all pixels of an image are equal; False where there are none."""
    return bool(pixels.size) and bool((pixels == pixels.flat[0]).all())
