"""Reduced resolutions: how an existing pyramid was made, and how to keep it in step.

A pixel ``i`` of a reduced level stands for the block ``[i * factor, (i + 1) * factor)`` of the
next finer level, on every axis. Each level is made from the next finer one, never from the full
resolution directly. Blocks that stick out at the far edge (a level of ``ceil(n / factor)``
pixels) are reduced over the pixels they have; where the level has ``floor(n / factor)`` pixels
the left-over pixels belong to no block. A reduced pixel depends on its own block and on nothing
else, so that a level can be updated only where it was touched.

Rules (:class:`DownsamplingRule`):

``mean``
    Mean of the block. ``rounding`` of integers: ``half-even`` (NumPy ``rint``; what we write),
    ``half-up`` (OpenCV, Fiji), ``floor`` (integer division) or ``trunc`` (NumPy ``astype``).
``median``
    Median of the block, rounded in the same ways (webKnossos).
``nearest``
    One pixel of the block, at ``offset`` from its first (decimation).

Pyramids that were smoothed first (Gaussian, scikit-image ``resize``) follow none of them.
:func:`detect_rule` then returns the mean with ``exact=False``: the touched pixels will be right
to within the difference of two ways to reduce an image, and the caller should say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..errors import InputError
from ..types import AnyImage, Box

if TYPE_CHECKING:
    from .levels import Level

#: Slices along z, y and x.
Region = tuple[slice, slice, slice]
Factors = tuple[int, int, int]

Kind = Literal["mean", "median", "nearest"]
Rounding = Literal["half-even", "half-up", "floor", "trunc"]
_KINDS = get_args(Kind)
_ROUNDINGS = get_args(Rounding)

# A pyramid counts as made by a rule that reproduces this part of its sampled pixels: all, but
# for a few that somebody changed on one level only.
_EXACT = 0.95
_SAMPLES = 8
_SAMPLE_EDGE = 24


@dataclass(frozen=True, slots=True)
class DownsamplingRule:
    """How a block of pixels becomes one.

    Parameters
    ----------
    kind
        ``"mean"``, ``"median"`` or ``"nearest"``.
    rounding
        Of integers, for mean and median.
    offset
        z, y, x of the pixel that is taken, for nearest.
    exact
        False where no rule reproduces the pyramid and the mean stands in.
    """

    kind: Kind = "mean"
    rounding: Rounding = "half-even"
    offset: tuple[int, int, int] = (0, 0, 0)
    exact: bool = True

    def __str__(self) -> str:
        how = ",".join(map(str, self.offset)) if self.kind == "nearest" else self.rounding
        return f"{self.kind} {how}{'' if self.exact else ' (approximate)'}"

    @classmethod
    def parse(cls, text: str) -> DownsamplingRule:
        """Return the rule that ``str`` wrote as ``text``; raises ValueError for any other text."""
        exact = not text.endswith(" (approximate)")
        kind, _, how = text.removesuffix(" (approximate)").partition(" ")
        offset = how.split(",") if kind == "nearest" else ["0"] * 3
        rounding = "half-even" if kind == "nearest" else how
        if kind not in _KINDS or rounding not in _ROUNDINGS or len(offset) != 3:
            raise ValueError(f"{text!r} is not a downsampling rule")
        z, y, x = (int(o) for o in offset)
        return cls(kind, rounding, (z, y, x), exact)  # type: ignore[arg-type]


def block_factors(
    fine: Sequence[int], coarse: Sequence[int], ratio: Sequence[float] | None = None
) -> Factors:
    """Return the whole-number factors between two levels.

    Parameters
    ----------
    fine, coarse
        Shapes (Z, Y, X) of a level and the next smaller one.
    ratio
        Ratio of their voxel sizes as the metadata give it; decides where the shapes are so small
        that several factors would do.

    Raises
    ------
    InputError
        If an axis is not reduced by a whole number: such a level cannot be updated block by block.
    """
    factors = []
    for axis, (n, m) in enumerate(zip(fine, coarse, strict=True)):
        guesses = [] if ratio is None else [round(ratio[axis])]
        guesses.append(round(n / m))
        fits = [f for f in guesses if f >= 1 and m in (-(-n // f), max(n // f, 1))]
        if not fits:
            raise InputError(
                f"the pyramid goes from {n} to {m} pixels on axis {'zyx'[axis]}, which is not a "
                "whole-number factor, so the smaller levels could not be updated; write the "
                "result elsewhere with --output (or Save as OME-Zarr)."
            )
        factors.append(fits[0])
    return (factors[0], factors[1], factors[2])


def touched(region: Region, factors: Factors, shape: Sequence[int]) -> Region:
    """Return the pixels of a reduced level that depend on a region of the next finer level.

    Parameters
    ----------
    region
        Of the finer level.
    factors
        Between the two, z, y, x.
    shape
        Of the reduced level. The result is cut at it and may be empty.
    """
    out = []
    for part, factor, size in zip(region, factors, shape, strict=True):
        start = min(part.start // factor, size)
        stop = min(-(-part.stop // factor), size)
        out.append(slice(start, max(stop, start)))
    return (out[0], out[1], out[2])


def needed(region: Region, factors: Factors, shape: Sequence[int]) -> Region:
    """Return the pixels of a level from which a region of the next reduced level is made.

    Parameters
    ----------
    region
        Of the reduced level.
    factors
        Between the two, z, y, x.
    shape
        Of the finer level, at which the result is cut.
    """
    out = [
        slice(min(part.start * factor, size), min(part.stop * factor, size))
        for part, factor, size in zip(region, factors, shape, strict=True)
    ]
    return (out[0], out[1], out[2])


def downsample(
    pixels: AnyImage,
    factors: Factors,
    rule: DownsamplingRule = DownsamplingRule(),
    shape: Sequence[int] | None = None,
) -> AnyImage:
    """Reduce pixels block by block.

    Parameters
    ----------
    pixels
        (Z, Y, X), beginning at the beginning of a block, as :func:`needed` returns it.
    factors
        Size of a block, z, y, x.
    rule
        What becomes of a block.
    shape
        Of the result, where the reduced level has no pixel for blocks that stick out; by
        default every block that has a pixel counts.

    Returns
    -------
    numpy.ndarray
        The reduced pixels, same dtype.
    """
    size = [-(-n // f) for n, f in zip(pixels.shape, factors, strict=True)]
    size = size if shape is None else [min(n, m) for n, m in zip(size, shape, strict=True)]
    if rule.kind == "nearest":
        places = [
            # A block that sticks out may not have the pixel: take its last one.
            np.minimum(np.arange(n) * f + o, m - 1)
            for n, f, o, m in zip(size, factors, rule.offset, pixels.shape, strict=True)
        ]
        return pixels[np.ix_(*places)]
    if rule.kind == "mean":
        total, count = np.zeros(size), np.zeros(size)
        with np.errstate(invalid="ignore"):  # damaged pixels may be infinite, of either sign
            for part, where in _parts(pixels, factors, size):
                total[where] += part
                count[where] += 1
        value = total / count
    else:
        stack = np.full((factors[0] * factors[1] * factors[2], *size), np.nan)
        for layer, (part, where) in zip(stack, _parts(pixels, factors, size), strict=True):
            layer[where] = part
        value = _median(stack)
    return _round(value, rule.rounding, pixels.dtype)


def reduce(fine: Level, coarse: Level, rule: DownsamplingRule, z: int, box: Box) -> AnyImage:
    """Return what a box of a reduced level should be, from the next finer level.

    Parameters
    ----------
    fine, coarse
        The two levels; of ``coarse`` only shape and scale are used.
    rule
        From :func:`detect_rule`.
    z, box
        Section of the reduced level and box within it.

    Returns
    -------
    numpy.ndarray
        (H, W) of the box.
    """
    factors = factors_between(fine, coarse)
    region = (slice(z, z + 1), *box.slices)
    source = needed(region, factors, fine.shape)
    shape = (1, *box.shape)
    return downsample(fine.select(*source), factors, rule, shape)[0]


def factors_between(fine: Level, coarse: Level) -> Factors:
    """Return the factors between two levels; see :func:`block_factors`."""
    ratio = [c / f for f, c in zip(fine.scale, coarse.scale, strict=True)]
    return block_factors(fine.shape, coarse.shape, ratio)


def detect_rules(levels: Sequence[Level]) -> tuple[DownsamplingRule, ...]:
    """Return how each level but the first was made from the one before; see :func:`detect_rule`."""
    return tuple(
        detect_rule(fine.array, coarse.array, factors_between(fine, coarse))
        for fine, coarse in pairwise(levels)
    )


def _parts(
    pixels: AnyImage, factors: Factors, size: Sequence[int]
) -> list[tuple[AnyImage, Region]]:
    """Return the pixels of every position within a block, and which blocks have them.

    One addition per position, always in the same order: the sum of a block does not depend on
    the region it is computed with, not even in the last bit of a float.
    """
    parts = []
    for place in product(*(range(f) for f in factors)):
        part = pixels[
            tuple(slice(o, n * f, f) for o, f, n in zip(place, factors, size, strict=True))
        ]
        z, y, x = part.shape
        parts.append((part, (slice(0, z), slice(0, y), slice(0, x))))
    return parts


def _median(stack: AnyImage) -> AnyImage:
    """Return the median along the first axis over what is not NaN, NaN where all is.

    As ``numpy.nanmedian``, which warns of the latter: damaged pixels may well be NaN.
    """
    ordered = np.sort(stack, axis=0)  # NaN last
    count = np.count_nonzero(~np.isnan(stack), axis=0)[None]
    below, above = (np.take_along_axis(ordered, i, 0)[0] for i in ((count - 1) // 2, count // 2))
    with np.errstate(invalid="ignore"):
        return np.asarray((below + above) / 2)


def _round(value: AnyImage, rounding: str, dtype: np.dtype[Any]) -> AnyImage:
    """Return float64 values as ``dtype``, rounded if that is an integer type."""
    if dtype.kind == "f":
        return value.astype(dtype)
    if rounding == "half-even":
        value = np.rint(value)
    elif rounding == "half-up":
        value = np.floor(value + 0.5)
    elif rounding == "floor":
        value = np.floor(value)
    return value.astype(dtype)  # truncates


def _candidates(factors: Factors, dtype: np.dtype[Any]) -> list[DownsamplingRule]:
    """Return the rules that could have made a pyramid, the usual ones first."""
    roundings: list[Any] = ["half-even", "half-up", "floor"]
    if dtype.kind == "f":
        roundings = ["half-even"]  # nothing is rounded
    elif dtype.kind == "i":
        roundings.append("trunc")  # differs from floor below zero only
    rules = [DownsamplingRule("mean", rounding) for rounding in roundings]
    rules += [
        DownsamplingRule("nearest", offset=(z, y, x)) for z, y, x in product(*map(range, factors))
    ]
    return rules + [DownsamplingRule("median", rounding) for rounding in roundings]


def detect_rule(fine: Any, coarse: Any, factors: Factors) -> DownsamplingRule:
    """Find out how a reduced level was made from the next finer one.

    A few small regions, spread over the stack, are reduced by every rule and compared.

    Parameters
    ----------
    fine, coarse
        Array-likes (Z, Y, X) that can be sliced, for example :attr:`.Level.array`.
    factors
        Between them, from :func:`block_factors`.

    Returns
    -------
    DownsamplingRule
        The rule that reproduces the level; the mean, with ``exact=False``, where none does.
    """
    dtype = np.dtype(coarse.dtype)
    rules = _candidates(factors, dtype)
    equal = np.zeros(len(rules))
    total = 0
    for region in _sample_regions(fine.shape, coarse.shape, factors):
        found = np.asarray(coarse[region])
        source = np.asarray(fine[needed(region, factors, fine.shape)])
        if source.min() == source.max():
            continue  # every rule makes the same of it
        total += found.size
        for i, rule in enumerate(rules):
            made = downsample(source, factors, rule)
            same = (
                np.isclose(made, found, 1e-5, equal_nan=True)
                if dtype.kind == "f"
                else made == found
            )
            equal[i] += np.count_nonzero(same)
    best = int(np.argmax(equal))  # the first of several
    if total == 0 or equal[best] >= _EXACT * total:
        return rules[best]
    return DownsamplingRule(exact=False)


def _sample_regions(fine: Sequence[int], coarse: Sequence[int], factors: Factors) -> list[Region]:
    """Return small regions of the reduced level, whole blocks only, spread along a diagonal."""
    whole = [max(min(n // f, m), 1) for n, f, m in zip(fine, factors, coarse, strict=True)]
    regions = []
    for i in range(_SAMPLES):
        z = i * (whole[0] - 1) // (_SAMPLES - 1)
        y = i * max(whole[1] - _SAMPLE_EDGE, 0) // (_SAMPLES - 1)
        # Run to and fro along x, so that the samples are not all on one line.
        x = (i * 3 % _SAMPLES) * max(whole[2] - _SAMPLE_EDGE, 0) // (_SAMPLES - 1)
        regions.append(
            (
                slice(z, z + 1),
                slice(y, min(y + _SAMPLE_EDGE, whole[1])),
                slice(x, min(x + _SAMPLE_EDGE, whole[2])),
            )
        )
    return regions
