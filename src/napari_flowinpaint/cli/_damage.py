"""The masks of a stack as the command line gets them: read section by section."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.masks.stack_mask import StackMask
    from ..core.types import AnyImage


def open_damage(
    path: Path | str,
    shape: tuple[int, int, int],
    sections: tuple[int, ...] | None,
    *,
    dataset: str | None = None,
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

    Raises
    ------
    InputError
        If the mask cannot be opened or does not fit the stack.
    """
    from ..core.masks.stack_mask import StackMask
    from ..core.open import open_mask

    single = _read_image(Path(path).expanduser(), dataset)
    if single is not None:
        return _single_section(single, path, shape, sections)
    volume = open_mask(path, dataset=dataset)
    if volume.shape[0] == 1 < shape[0]:
        return _single_section(volume.read(0), path, shape, sections)
    if volume.shape != shape:
        raise InputError(
            f"the mask {path} has the shape {volume.shape} but the stack has {shape}; "
            "give a mask of the stack's shape, or one section with --sections."
        )
    return StackMask(volume, shape)


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


def _read_image(path: Path, dataset: str | None) -> AnyImage | None:
    """Return a single image, or None where the path holds anything else."""
    from ..core.io.hdf5_reader import split_hdf5

    hdf5 = split_hdf5(str(path))
    suffix = path.suffix.lower()
    with suppress(Exception):  # not an image after all: open_mask says what is wrong with it
        if suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                return np.asarray(image)
        if suffix in (".tif", ".tiff"):
            import tifffile

            with tifffile.TiffFile(path) as file:
                shape = file.series[0].shape
                single = len(file.series) == 1 and set(shape[:-2]) <= {1}
                return file.asarray().reshape(shape[-2:]) if single else None
        if hdf5 is not None:
            import h5py

            with h5py.File(hdf5[0], "r") as container:
                item = container[dataset or hdf5[1]]
                return np.asarray(item[...]) if item.ndim == 2 else None
        if (path / "zarr.json").is_file() or (path / ".zarray").is_file():
            import zarr

            node = zarr.open_array(str(path), mode="r")
            return np.asarray(node[...]) if node.ndim == 2 else None
    return None
