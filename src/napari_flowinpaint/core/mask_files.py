"""Open the mask of a stack, in whatever way people keep masks.

A volume of the stack's shape (whatever :func:`.open_mask` opens, or ``.npy``); the image of one
section; a folder of images, also of the damaged sections only; regions drawn in ImageJ. What a
picture shows counts, not what is stored in it.

Not responsible for: what is painted in a viewer.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ChoiceNeeded, FlowInpaintError, InputError, first_line
from .masks.check_mask import check_mask, sample_of
from .masks.mask_choice import NOT_ZERO, MaskChoice
from .masks.mask_folder import MaskFolder, image_files, read_single, sections_of, single_shape
from .masks.mask_images import PICTURES, TIFFS, TiffPictures, is_pictured, shown
from .masks.roi_masks import is_roi_file, open_rois
from .masks.section_masks import MaskImages
from .masks.stack_mask import StackMask
from .types import AnyImage

if TYPE_CHECKING:
    from .io.stack import Stack

_SAY_WHICH = (
    "is the mask of a single section; say which one it belongs to with --sections, or give a mask "
    "of the stack's shape."
)


def open_damage(
    path: Path | str,
    stack: Stack,
    sections: Sequence[int] | None = None,
    *,
    dataset: str | None = None,
    allow_external: bool = False,
    choice: MaskChoice = NOT_ZERO,
    shown: int | None = None,
    sample: bool = False,
) -> StackMask:
    """Open a mask and compare it with its stack.

    Parameters
    ----------
    path
        A mask of the stack's shape, of a level of its pyramid, or smaller by a whole number in y
        and x; the image of the one section of ``sections``; a folder of images; ImageJ ROIs.
    stack
        The stack.
    sections
        The sections asked for; None for all.
    dataset
        Name of the mask within a zarr group or an HDF5 file.
    allow_external
        As for :func:`~napari_flowinpaint.core.open.open_mask`.
    choice
        Which values are damage.
    shown
        The section that a single image belongs to, where none is asked for.
    sample
        Whether only some sections are looked at, to find out what the mask means.

    Returns
    -------
    StackMask
        With notes of what was taken for granted.

    Raises
    ------
    ChoiceNeeded
        If it does not say which of its classes is the damage.
    InputError
        If it cannot be opened, or does not fit the stack.
    """
    if not str(path).strip():
        raise InputError("the path of the stack or mask is empty; give one.")
    opener = _Opener(str(path), stack, sections, choice, shown)
    mask = opener.open(dataset, allow_external)
    mask.notes += check_mask(mask, sample_of(mask, shown) if sample else sections)
    return mask


class _Opener:
    """Finds out what a path holds."""

    def __init__(
        self,
        path: str,
        stack: Stack,
        sections: Sequence[int] | None,
        choice: MaskChoice,
        shown: int | None,
    ) -> None:
        self.path, self.where = path, Path(path).expanduser()
        self.stack, self.sections, self.choice = stack, sections, choice
        self.shown = shown

    @property
    def only_section(self) -> int | None:
        """The section that is asked for, where it is a single one."""
        if self.sections is None and self.shown is not None:
            return self.shown
        found = range(self.stack.shape[0]) if self.sections is None else self.sections
        return found[0] if len(found) == 1 else None

    def open(self, dataset: str | None, allow_external: bool) -> StackMask:
        """Open it."""
        from .open import open_mask

        where, suffix = self.where, self.where.suffix.lower()
        if dataset is None and is_roi_file(where):
            masks, notes = open_rois(where, self.stack.shape, self.only_section)
            return self.mask(masks, notes)
        if dataset is None and where.is_file() and suffix in (*PICTURES, *TIFFS, ".npy"):
            found = self._pictures(suffix)
            if found is not None:
                return found
        if dataset is None and where.is_dir() and not _is_zarr(where):
            files = image_files(where)
            if files:
                return self._folder(files, allow_external)
        single = _read_array(self.path, dataset, allow_external)
        if single is not None:
            return self._single(single, ())
        try:
            volume = open_mask(self.path, dataset=dataset, allow_external=allow_external)
        except ChoiceNeeded as error:
            raise _choice(self.path, error) from error
        if volume.shape[0] == 1 < self.stack.shape[0]:
            return self._single(volume.read(0), volume.messages)
        return self.mask(volume, volume.messages)

    def mask(self, source: Any, notes: Sequence[str] = ()) -> StackMask:
        """Return the mask that is read from ``source``."""
        levels = [level.shape for level in self.stack.levels]
        try:
            metadata = getattr(source, "metadata", None)
            kinds = None if metadata is None else metadata.label_kinds
            return StackMask(source, self.stack.shape, self.choice, levels, notes, kinds)
        except InputError as error:
            text = str(error).replace("the mask has", f"the mask {self.path} has", 1)
            raise InputError(
                f"{text.removesuffix('.')}, or one section with --sections."
            ) from error

    def _single(self, values: AnyImage, notes: Sequence[str]) -> StackMask:
        """Return the mask of one section."""
        if values.ndim != 2:
            raise InputError(f"the mask {self.path} has the shape {values.shape}; give an image.")
        section = self.only_section
        if section is None:
            raise InputError(f"{self.path} {_SAY_WHICH}")
        return self.mask(MaskImages({section: values}, _two(values.shape)), notes)

    def _pictures(self, suffix: str) -> StackMask | None:
        """Return the mask in an image file; None for stacks of grey pages, which others open."""
        if suffix in PICTURES:
            picture = read_single(self.where)
            return self._single(picture.values, picture.notes)
        if suffix == ".npy":
            return self._numpy()
        from .io.tiff_reader import open_tiff_file

        try:
            file = open_tiff_file(self.where)
        except FlowInpaintError:
            raise
        except Exception:  # open_mask says what is wrong with it
            return None
        pages = len(file.pages)
        if pages == 1 and _is_image(file):
            with file:
                if _has_sections_as_colours(file, self.stack.shape[0]):
                    return self._sections_as_colours(file.pages[0])
                picture = read_single(self.where)
            return self._single(picture.values, picture.notes)
        if pages == 1 or not is_pictured(file.pages[0]) or int(file.pages[0].photometric) == 0:
            with file:
                inverting = int(file.pages[0].photometric) == 0
            return self._noted() if inverting else None
        pictures = TiffPictures(file, self.where)
        weakref.finalize(pictures, file.close)
        return self.mask(_VolumeOf(pictures))

    def _sections_as_colours(self, page: Any) -> StackMask:
        """Return the mask of the sections that the planes of a page are."""
        from .io.memory import check_fits

        check_fits(page.nbytes, str(self.where))
        note = f"{self.where.name} calls its sections colours; they are read as sections."
        return self.mask(page.asarray(), (note,))

    def _noted(self) -> StackMask:
        """Return the mask of a TIFF that is shown with white as 0."""
        from .open import open_mask

        volume = open_mask(self.path)
        note = (
            f"{self.where.name} is shown with white as 0 (inverting LUT); non-zero pixels, which "
            "are shown dark, count as damaged."
        )
        return self.mask(volume, (*volume.messages, note))

    def _numpy(self) -> StackMask:
        from .io.npz import map_npy

        try:
            found = map_npy(self.where)
        except Exception as error:  # whatever the damaged header leads to
            raise InputError(
                f"{self.path} cannot be read as a NumPy array ({first_line(error)})."
            ) from error
        if found.dtype.kind not in "biuf":
            raise InputError(f"{self.path} is {found.dtype}; save the mask as bool or uint8.")
        return self._single(found, ()) if found.ndim == 2 else self.mask(found)

    def _folder(self, files: list[Path], allow_external: bool) -> StackMask:
        from .io.levels import allow

        here = self.where.resolve()
        for file in files:
            if file.is_symlink() and file.resolve().parent != here:
                allow(allow_external, f"{file} is a link to another folder")
        names = getattr(self.stack.levels[0].source, "files", None)
        names = None if names is None else [file.name for file in names]
        depth = self.stack.shape[0]
        found, note = sections_of(files, depth, self.sections, names)
        shape = single_shape(files[0])
        for file in files[1:]:
            if single_shape(file) != shape:
                raise InputError(
                    f"{file} has the shape {single_shape(file)} but {files[0].name} has {shape}; "
                    "give masks of one shape."
                )
        if len(found) == 1 and not note:
            note = f"{files[0].name} is taken for section {next(iter(found))}"
        return self.mask(MaskFolder(found, shape), (note,) if note else ())


def _choice(path: str, error: ChoiceNeeded) -> InputError:
    """Return a refusal to guess with the options of masks, which are not those of stacks."""
    if error.option != "dataset":
        return InputError(
            f"the mask {path} has {len(error.choices)} {error.option}s; save one of them as the "
            "mask."
        )
    message = str(error).replace("--dataset ", "--mask-dataset ")
    return ChoiceNeeded(message, error.option, error.choices)


class _VolumeOf:
    """Planes read section by section, as a mask reads a stack."""

    def __init__(self, planes: TiffPictures) -> None:
        from .io.levels import Level

        self.shape, self.levels = planes.shape, (Level(planes),)

    def read(self, z: int, box: Any = None) -> AnyImage:
        """Return one section, or a box of it."""
        return self.levels[0].read(z, box)


def picture_values(pixels: AnyImage, name: str) -> tuple[AnyImage, tuple[str, ...]]:
    """Return what the pixels of a colour picture show as mask values, and notes.

    Parameters
    ----------
    pixels
        (Y, X, 3 or 4) of a layer.
    name
        Of the layer.
    """
    picture = shown(np.asarray(pixels), name)
    return picture.values, picture.notes


def _two(shape: Sequence[int]) -> tuple[int, int]:
    return (int(shape[0]), int(shape[1]))


def _is_zarr(path: Path) -> bool:
    from .io.zarr_node import is_zarr_node

    return is_zarr_node(path)


def _is_image(file: Any) -> bool:
    """Return whether a TIFF of one page is one image: a large ImageJ stack has one page as well."""
    series = file.series
    if len(series) != 1:
        return False
    shape = [n for n, axis in zip(series[0].shape, series[0].axes, strict=True) if axis != "S"]
    return not set(shape[:-2]) - {1}


def _has_sections_as_colours(file: Any, depth: int) -> bool:
    """Return whether a TIFF of one page has a plane for each section, called a colour.

    tifffile writes an array of three or four sections so, unless it is told that they are grey.
    """
    page = file.pages[0]
    separate = file.is_shaped and page.planarconfig is not None and int(page.planarconfig) == 2
    return bool(separate and page.ndim == 3 and page.shape[0] == depth)


def _read_array(path: str, dataset: str | None, allow_external: bool) -> AnyImage | None:
    """Return an image in a zarr store or an HDF5 file; None where there is anything else."""
    from .io.hdf5_reader import open_dataset, split_hdf5
    from .io.zarr_node import is_zarr_node, open_node

    hdf5 = split_hdf5(path)
    try:
        if hdf5 is not None:
            file = Path(hdf5[0]).expanduser()
            item, _ = open_dataset(file, dataset or hdf5[1], allow_external=allow_external)
            return _all_of(item)
        where = Path(path).expanduser()
        return _all_of(open_node(where)) if is_zarr_node(where) else None
    except Exception:  # not an image after all: open_mask says what is wrong with it
        return None


def _all_of(array: Any) -> AnyImage | None:
    """Return the pixels of an array that is an image; None where it is not."""
    from .io.memory import check_fits

    if getattr(array, "ndim", 0) != 2:
        return None
    check_fits(array.size * array.dtype.itemsize, "the mask")
    return np.asarray(array[...])
