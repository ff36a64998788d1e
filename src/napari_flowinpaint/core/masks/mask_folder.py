"""Folders with one image per damaged section, told apart by the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..types import AnyImage, Box
from .mask_images import PICTURES, TIFFS, Picture, picture_shape, read_picture, show_page
from .section_masks import SectionMasks

_DIGITS = re.compile(r"\d+")


class MaskFolder(SectionMasks):
    """Images of single sections; one is read when it is asked for.

    Parameters
    ----------
    files
        By section number.
    shape
        (Y, X) of each.
    """

    def __init__(self, files: dict[int, Path], shape: tuple[int, int]) -> None:
        self.shape = shape
        self.sections = tuple(sorted(files))
        self._files = files

    def read(self, z: int, box: Box) -> AnyImage:
        """Return the values in a box of section ``z``."""
        file = self._files[z]
        values = read_single(file).values
        if values.shape != self.shape:
            raise InputError(f"{file} has the shape {values.shape}, the others {self.shape}.")
        return values[box.slices]


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order."""
    from natsort import natsorted, ns

    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in (*PICTURES, *TIFFS)
        and not file.name.startswith(".")
        and file.is_file()
    ]
    return natsorted(files, key=lambda f: f.name, alg=ns.IGNORECASE)


def read_single(file: Path) -> Picture:
    """Read the image of one section, as a mask.

    Raises
    ------
    InputError
        If it cannot be read, or holds several sections.
    """
    if file.suffix.lower() in PICTURES:
        return read_picture(file)
    from ..io.tiff_reader import open_tiff_file

    with open_tiff_file(file) as tiff:
        if len(tiff.pages) != 1:
            raise InputError(f"{file} holds {len(tiff.pages)} pages, not a single image.")
        return show_page(tiff.pages[0], file.name)


def single_shape(file: Path) -> tuple[int, int]:
    """Return (Y, X) of the image of one section from its header."""
    if file.suffix.lower() in PICTURES:
        return picture_shape(file)
    from ..io.tiff_reader import open_tiff_file

    with open_tiff_file(file) as tiff:
        page = tiff.pages[0]
        return (int(page.imagelength), int(page.imagewidth))


def sections_of(
    files: Sequence[Path],
    depth: int,
    wanted: Sequence[int] | None,
    names: Sequence[str] | None,
) -> tuple[dict[int, Path], str]:
    """Return which image belongs to which section, and how that was found out.

    Parameters
    ----------
    files
        The images, in natural order.
    depth
        Number of sections of the stack.
    wanted
        Sections that were asked for; None for all.
    names
        Names of the files of the sections, where the stack is a folder of images.

    Raises
    ------
    InputError
        If the names do not tell.
    """
    folder = files[0].parent
    if len(files) == depth:
        return dict(enumerate(files)), ""
    numbers, why = numbers_of([file.stem for file in files])
    if numbers is None and wanted is not None and len(wanted) == len(files):
        found = dict(zip(sorted(wanted), files, strict=True))
        return found, f"the images of {folder} are taken for these sections, in order"
    if numbers is None:
        raise InputError(
            f"{folder} holds masks of {len(files)} of {depth} sections, and {why}; give each the "
            "number of its section, as in section_0003.png, or name the sections with --sections."
        )
    known, how = _numbering(names, depth)
    lost = [file.name for number, file in zip(numbers, files, strict=True) if number not in known]
    if lost:
        hint = ""
        if max(numbers) == depth and min(numbers) > 0 and not how:
            hint = " (are they counted from 1?)"
        raise InputError(
            f"{lost[0]} in {folder} belongs to no section: the stack has sections 0 to "
            f"{depth - 1}{how}{hint}; rename the images."
        )
    found = {known[number]: file for number, file in zip(numbers, files, strict=True)}
    first = min(found)
    return found, (
        f"{len(found)} of {depth} sections have a mask in {folder}; {found[first].name} is taken "
        f"for section {first}{how or ', counted from 0'}"
    )


def _numbering(names: Sequence[str] | None, depth: int) -> tuple[dict[int, int], str]:
    """Return the section of each number: that of the files of the stack, or the section itself."""
    own = numbers_of([Path(name).stem for name in names])[0] if names else None
    if own is None or own == list(range(depth)):
        return {z: z for z in range(depth)}, ""
    return {n: z for z, n in enumerate(own)}, f", named {own[0]} to {own[-1]} in its own files"


def numbers_of(stems: Sequence[str]) -> tuple[list[int] | None, str]:
    """Return the number in each name that tells them apart; None, and why, where that is unclear.

    Parameters
    ----------
    stems
        Names without their suffix.
    """
    groups = [_DIGITS.findall(stem) for stem in stems]
    count = len(groups[0])
    if not count:
        return None, "there is no number in their names"
    if len({_DIGITS.sub("#", stem) for stem in stems}) > 1:
        lengths = {len(found) for found in groups}
        if lengths != {1}:
            return None, "the numbers are not at the same place in their names"
    columns = [[int(found[i]) for found in groups] for i in range(count)]
    varying = [column for column in columns if len(set(column)) > 1]
    if len(stems) == 1 or count == 1:
        varying = columns
    if len(varying) != 1:
        return None, "there are several numbers in their names that may be the section's"
    if len(set(varying[0])) < len(stems):
        return None, "several have the same number"
    return varying[0], ""
