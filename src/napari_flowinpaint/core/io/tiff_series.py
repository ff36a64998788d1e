"""Which pages of a TIFF file are the stack: all of them, or those that are asked for.

A file may hold several images, and pages that were written in several ways. tifffile makes a
series of every kind; here they are one stack where size, type and meaning of the pixels agree,
however they are compressed. Where they do not, the file is refused with a list of what is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ChoiceNeeded, InputError, counted
from .tiff_pages import PageLook

#: Series that tifffile makes of the pages alone, not of metadata that say what is what.
_PLAIN = {"generic", "uniform", "shaped"}


def find_series(
    path: Path, file: Any, looks: Sequence[PageLook], dataset: str | None
) -> tuple[Any, tuple[str, ...]]:
    """Return the ``tifffile.TiffPageSeries`` that is the stack, and what there is to say about it.

    Parameters
    ----------
    path
        Of the file.
    file
        The ``tifffile.TiffFile``.
    looks
        Its pages, from :func:`.look_at_pages`.
    dataset
        Number of the image to take, of those that the refusal lists; None where there is one only.

    Raises
    ------
    ChoiceNeeded
        If there are several images, one of them a stack.
    InputError
        If there is none, or no image of that number.
    """
    groups: dict[Any, list[int]] = {}
    for number, look in enumerate(looks):
        if not look.reduced:
            groups.setdefault(look.pixels, []).append(number)
    if len(groups) > 1 and _is_plain(file):
        return _of_groups(path, file, looks, list(groups.values()), dataset)
    left_out = sum(look.reduced for look in looks) if _is_plain(file) else 0
    copies = "copy is" if left_out == 1 else "copies are"
    reduced = (
        (f"{left_out} reduced {copies} not used in {path.name} (thumbnails, a pyramid).",)
        if left_out
        else ()
    )
    try:
        series = [s for s in file.series if not s.keyframe.is_reduced]
    except Exception:  # pages that are not what the metadata of the file say
        if len(groups) > 1:
            return _of_groups(path, file, looks, list(groups.values()), dataset)
        if len(groups) != 1 or not _is_simple(file):
            raise
        _check_number(path, dataset, 1)
        return _joined(file, next(iter(groups.values()))), reduced
    if not series:
        raise InputError(f"{path} has no pages with pixels; give a multi-page TIFF.")
    if len(series) > 1:
        pages = next(iter(groups.values())) if len(groups) == 1 else []
        if dataset is None and _is_of_sections(series, len(pages)):
            return _joined(file, pages), reduced
        found = _of_several(path, series, dataset)
    else:
        _check_number(path, dataset, 1)
        found = series[0]
    _check_alike(path, found, looks)
    return _own_pages(found, looks), reduced


def _is_plain(file: Any) -> bool:
    """Return whether no metadata of the file say what its pages are."""
    told = ("ome", "imagej", "lsm", "mmstack", "fluoview", "stk", "ndpi", "svs", "scn", "scanimage")
    return not any(getattr(file, f"is_{kind}") for kind in told)


def _is_simple(file: Any) -> bool:
    """Return whether the metadata say no more of pages than that they are sections."""
    if file.is_ome:
        from tifffile import xml2dict

        image = xml2dict(file.ome_metadata).get("OME", {}).get("Image")
        pixels = image.get("Pixels", {}) if isinstance(image, dict) else {}
        return all(pixels.get(f"Size{axis}") == 1 for axis in "CT")
    told = (file.imagej_metadata or {}) if file.is_imagej else {}
    return all(told.get(name, 1) == 1 for name in ("channels", "frames"))


def _is_of_sections(series: Sequence[Any], pages: int) -> bool:
    """Return whether series are grey, of one page per section, and all pages there are."""
    plain = all(s.ndim <= 3 and "S" not in s.axes for s in series)
    return plain and sum(math.prod(s.shape[:-2]) for s in series) == pages


def _check_number(path: Path, dataset: str | None, count: int) -> int:
    """Return the number of an image that was asked for."""
    if dataset is None:
        return 0
    if not dataset.isdecimal() or int(dataset) >= count:
        raise InputError(
            f"{path} has no image {dataset!r}; "
            + (f"choose dataset 0 to {count - 1}." if count > 1 else "leave the dataset out.")
        )
    return int(dataset)


def _joined(file: Any, numbers: Sequence[int]) -> Any:
    """Return pages as one series, each with tags of its own."""
    from tifffile import TiffPageSeries

    file.pages.useframes = False  # no page is taken to be like the first
    pages = [file.pages[number].aspage() for number in numbers]
    first = pages[0]
    axes = "I" + first.axes
    shape = (len(pages), *first.shape)
    return TiffPageSeries(
        pages, shape, first.dtype, axes, parent=file, kind="generic", squeeze=False
    )


def _own_pages(series: Any, looks: Sequence[PageLook]) -> Any:
    """Return a series whose pages are decoded by their own tags, where they differ."""
    from tifffile import TiffPageSeries

    if series.is_multifile or len({look.coding for look in looks if not look.reduced}) < 2:
        return series
    if len(series.pages) < 2:
        return series
    pages = [None if page is None else page.aspage() for page in series.pages]
    return TiffPageSeries(
        pages,
        series.shape,
        series.dtype,
        series.axes,
        parent=series.parent,
        kind=series.kind,
        squeeze=False,
    )


def _check_alike(path: Path, series: Any, looks: Sequence[PageLook]) -> None:
    """Refuse a series of which the metadata say more than its pages hold.

    Raises
    ------
    InputError
        Naming the page that differs from the first one.
    """
    if series.is_multifile:
        return
    numbers = [p.index for p in series.pages if p is not None and len(p.treeindex) == 1]
    numbers = [number for number in numbers if number < len(looks)]
    for number in numbers[1:]:
        if looks[number].pixels != looks[numbers[0]].pixels:
            raise InputError(
                f"{path} is one stack according to its metadata, but page {number} is "
                f"{looks[number]} and page {numbers[0]} is {looks[numbers[0]]}; save the stack "
                "again."
            )


def _of_groups(
    path: Path,
    file: Any,
    looks: Sequence[PageLook],
    groups: list[list[int]],
    dataset: str | None,
) -> tuple[Any, tuple[str, ...]]:
    """Return the pages of one size and type that were asked for."""
    if dataset is not None:
        chosen = groups[_check_number(path, dataset, len(groups))]
        left = len(looks) - len(chosen)
        return _joined(file, chosen), (f"{counted(left, 'page')} of {path.name} left out.",)
    told = [f"{len(group)} of {looks[group[0]]} ({_pages(group)})" for group in groups]
    stacks = [number for number, group in enumerate(groups) if len(group) > 1]
    raise _several(path, "pages that do not form one stack", told, stacks)


def _of_several(path: Path, series: Sequence[Any], dataset: str | None) -> Any:
    """Return the image that was asked for, of several that the metadata tell apart."""
    if dataset is not None:
        return series[_check_number(path, dataset, len(series))]
    told = [f"{'x'.join(map(str, s.shape))} {s.dtype} ({s.axes})" for s in series]
    stacks = [n for n, s in enumerate(series) if s.ndim >= 3 and "S" not in s.axes]
    raise _several(path, f"{len(series)} images", told, stacks)


def _several(path: Path, what: str, told: list[str], stacks: list[int]) -> InputError:
    """Return the refusal of a file that holds several things."""
    listed = ", ".join(f"{n}: {words}" for n, words in enumerate(told[:6]))
    message = f"{path} holds {what} ({listed}{', …' if len(told) > 6 else ''})"
    if not stacks:
        return InputError(f"{message}; save the pages of the stack alone.")
    return ChoiceNeeded(
        f"{message}; save the pages of the stack alone, or choose some, for example with "
        f"--dataset {stacks[0]}",
        "dataset",
        [str(n) for n in stacks],
    )


def _pages(numbers: Sequence[int]) -> str:
    """Return page numbers as people write them."""
    if len(numbers) == 1:
        return f"page {numbers[0]}"
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return f"pages {numbers[0]} to {numbers[-1]}"
    shown = ", ".join(map(str, numbers[:4]))
    return f"pages {shown}{', …' if len(numbers) > 4 else ''}"
