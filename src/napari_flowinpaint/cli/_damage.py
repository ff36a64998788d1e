"""The masks of a stack as the command line gets them: read section by section."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import ChoiceNeeded, InputError

if TYPE_CHECKING:
    from ..core.masks.stack_mask import StackMask
    from ..core.types import AnyImage


def open_damage(
    path: Path | str,
    shape: tuple[int, int, int],
    sections: tuple[int, ...] | None,
    *,
    dataset: str | None = None,
    allow_external: bool = False,
) -> StackMask:
    """Open a mask and compare it with the stack.

    Parameters
    ----------
    path
        What :func:`~napari_flowinpaint.core.open.open_mask` opens; or, where exactly one
        section is asked for, a single image of its shape (TIFF, PNG, zarr array or HDF5 dataset).
    shape
        (Z, Y, X) of the stack.
    sections
        The sections asked for; None for all.
    dataset
        Name of the mask within a zarr group or an HDF5 file.
    allow_external
        As for :func:`~napari_flowinpaint.core.open.open_mask`.

    Raises
    ------
    InputError
        If the mask cannot be opened or does not fit the stack.
    """
    from ..core.masks.stack_mask import StackMask
    from ..core.open import open_mask

    single = _read_single(Path(path).expanduser(), dataset, allow_external)
    if single is not None:
        return _single_section(single, path, shape, sections)
    try:
        volume = open_mask(path, dataset=dataset, allow_external=allow_external)
    except ChoiceNeeded as error:
        raise _choice(path, error) from error
    if volume.shape[0] == 1 < shape[0]:
        return _single_section(volume.read(0), path, shape, sections)
    if volume.shape != shape:
        raise InputError(
            f"the mask {path} has the shape {volume.shape} but the stack has {shape}; "
            "give a mask of the stack's shape, or one section with --sections."
        )
    return StackMask(volume, shape)


def _choice(path: Path | str, error: ChoiceNeeded) -> InputError:
    """Return a refusal to guess with the options of masks, which are not those of stacks."""
    if error.option != "dataset":
        return InputError(
            f"the mask {path} has {len(error.choices)} {error.option}s; save one of them as the "
            "mask."
        )
    message = str(error).replace("--dataset ", "--mask-dataset ")
    return ChoiceNeeded(message, error.option, error.choices)


def _single_section(
    mask: AnyImage,
    path: Path | str,
    shape: tuple[int, int, int],
    sections: tuple[int, ...] | None,
) -> StackMask:
    """Return the damage of one section that came as an image."""
    from ..core.masks.stack_mask import StackMask

    if mask.ndim != 2:
        raise InputError(f"the mask {path} is colour; convert it to one grey channel first.")
    if sections is None or len(sections) != 1:
        raise InputError(
            f"the mask {path} is a single section; say which one it belongs to with --sections, "
            "or give a mask of the stack's shape."
        )
    if mask.shape != shape[1:]:
        raise InputError(
            f"the mask {path} has the shape {mask.shape} but a section has {shape[1:]}; "
            "give a mask of the section's shape."
        )
    return StackMask({sections[0]: mask}, shape)


def _read_single(path: Path, dataset: str | None, allow_external: bool) -> AnyImage | None:
    """Return a single image, or None where the path holds anything else."""
    from ..core.io.formats import IMAGE_SUFFIXES
    from ..core.io.hdf5_reader import open_dataset, split_hdf5
    from ..core.io.image_reader import read_image
    from ..core.io.zarr_reader import is_zarr_node, open_node

    hdf5 = split_hdf5(str(path))
    with suppress(Exception):  # not an image after all: open_mask says what is wrong with it
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            return read_image(path, single=True)
        if hdf5 is not None:
            file = Path(hdf5[0])
            item, _ = open_dataset(file, dataset or hdf5[1], allow_external=allow_external)
            return _all_of(item)
        if is_zarr_node(path):
            return _all_of(open_node(path))
    return None


def _all_of(array: Any) -> AnyImage | None:
    """Return the pixels of an array that is an image; None where it is not."""
    from ..core.io.memory import check_fits

    if getattr(array, "ndim", 0) != 2:
        return None
    check_fits(array.size * array.dtype.itemsize, "the mask")
    return np.asarray(array[...])
