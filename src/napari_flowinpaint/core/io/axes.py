"""Which axis of an array is which, and how long a voxel is.

Everything above this module sees stacks as ``zyx``. Files come as ``zyx``, ``czyx``, ``tczyx``,
``tzyx`` or with the spatial axes in another order; :class:`Axes` remembers where z, y and x are
in the array and which index was chosen on every other axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ChoiceNeeded, InputError
from ..types import VoxelSize

#: nanometres per unit, by the names NGFF, ImageJ, OME-XML and people use.
NANOMETRES = {
    "angstrom": 0.1,
    "Å": 0.1,
    "pm": 1e-3,
    "picometer": 1e-3,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "\\u00B5m": 1e3,  # ImageJ escapes it
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "inch": 2.54e7,
}

_GUESSED_LEADING = {3: "", 4: "c", 5: "tc"}
#: Characters of the name of an axis in a message.
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Axes:
    """Where z, y and x are in an array, and what was chosen on its other axes.

    Parameters
    ----------
    zyx
        Positions of z, y and x among the axes of the array.
    fixed
        ``(position, index)`` of every other axis: the chosen channel and time.
    """

    zyx: tuple[int, int, int] = (0, 1, 2)
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the array is ``zyx`` as it is."""
        return self.zyx == (0, 1, 2) and not self.fixed

    @property
    def order(self) -> tuple[int, int, int]:
        """Rank of z, y and x among the spatial axes: (0, 1, 2) when stored in this order."""
        ranked = sorted(self.zyx)
        return (ranked.index(self.zyx[0]), ranked.index(self.zyx[1]), ranked.index(self.zyx[2]))

    def index(self, z: Any, y: Any, x: Any) -> tuple[Any, ...]:
        """Return the index into the array that selects ``z``, ``y`` and ``x``."""
        out: list[Any] = [0] * (3 + len(self.fixed))
        for position, value in (*zip(self.zyx, (z, y, x), strict=True), *self.fixed):
            out[position] = value
        return tuple(out)

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Return (Z, Y, X) of an array of ``shape``."""
        z, y, x = self.zyx
        return (int(shape[z]), int(shape[y]), int(shape[x]))


def resolve_axes(
    names: Sequence[str] | None,
    shape: Sequence[int],
    *,
    what: str,
    channel: int | None = None,
    time: int | None = None,
) -> Axes:
    """Find z, y and x among named (or unnamed) axes and fix the others.

    Parameters
    ----------
    names
        One name per axis (``z``, ``y``, ``x``, ``c``, ``t``, anything else for an axis that must
        have length 1), or None where the file does not name them: then axes of length 1 are
        dropped until three are left, else the order is taken as ``zyx``, ``czyx`` or ``tczyx``.
    shape
        Shape of the array.
    what
        Name of the data, for the messages.
    channel, time
        Index on the c and the t axis; may be None where that axis has length 1 or is absent.

    Raises
    ------
    InputError
        If there is no z, y, x; if a channel or time must be chosen; if the choice is out of range.
    """
    names = [n.lower() for n in names] if names is not None else guess_names(shape, what)
    if len(names) != len(shape) or any(names.count(a) > 1 for a in "zyx"):
        raise InputError(
            f"{what} has the shape {tuple(shape)} but names its axes {names}; correct the metadata."
        )
    missing = [a for a in "zyx" if a not in names]
    if missing:
        raise InputError(
            f"{what} is not a stack: it has axes {''.join(names)} of shape {tuple(shape)} "
            f"but no {' or '.join(missing)}; give a stack with z, y and x."
        )
    chosen = {"c": ("channel", channel), "t": ("time", time)}
    fixed = []
    for position, name in enumerate(names):
        if name in ("z", "y", "x"):
            continue
        option, index = chosen.get(name, (None, None))
        fixed.append((position, choose_index(name, option, index, int(shape[position]), what)))
    for name, (option, index) in chosen.items():
        if name not in names and index not in (None, 0):
            raise InputError(f"{what} has no {option} axis; leave out {option} {index}.")
    zyx = (names.index("z"), names.index("y"), names.index("x"))
    if 0 in (shape[a] for a in zyx):
        raise InputError(f"{what} is empty: its shape is {tuple(shape)}; give a stack with pixels.")
    return Axes(zyx, tuple(fixed))


def say_guess(names: Sequence[str] | None, found: Any, ndim: int, axes: Axes) -> tuple[str, ...]:
    """Return what is to be said of axes that were guessed.

    Parameters
    ----------
    names
        The names that :func:`resolve_axes` got; None where it had to guess.
    found
        Names in the file that are not known here; None where it has none.
    ndim
        Number of axes.
    axes
        What was guessed.
    """
    if names is not None:
        return ()
    words = ["-"] * ndim
    for position, name in zip(axes.zyx, "zyx", strict=True):
        words[position] = name
    others = [p for p, _ in sorted(axes.fixed) if words[p] == "-"]
    for position, name in zip(reversed(others), "ct", strict=False):
        words[position] = name
    taken = ", ".join(words)
    if found is not None:
        given = ", ".join(str(n)[:_LONGEST_NAME] for n in found)
        return (f"The axes are called {given}; they are read as {taken}.",)
    if ndim > len("zyx"):
        return (f"The axes have no names; they are read as {taken}.",)
    return ()


def guess_names(shape: Sequence[int], what: str) -> list[str]:
    """Name the axes of an array whose file does not."""
    ndim = len(shape)
    if ndim > 3 and shape[-1] in (3, 4) and all(n > 4 for n in shape[-3:-1]):
        raise InputError(
            f"{what} looks like colour (shape {tuple(shape)}, the last axis being RGB); "
            "convert it to one grey channel first."
        )
    long = [i for i, n in enumerate(shape) if n != 1]
    if ndim > 3 and len(long) == 3:
        names = ["-"] * ndim
        for i, name in zip(long, "zyx", strict=True):
            names[i] = name
        return names
    if ndim not in _GUESSED_LEADING:
        kind = "a single image" if ndim == 2 else f"an array of {ndim} axes"
        raise InputError(
            f"{what} is not a stack but {kind} of shape {tuple(shape)}; "
            "give a stack with the axes z, y, x."
        )
    return list(_GUESSED_LEADING[ndim] + "zyx")


def choose_index(name: str, option: str | None, index: int | None, size: int, what: str) -> int:
    """Return the index to take on an axis that is not spatial.

    Parameters
    ----------
    name
        Of the axis.
    option
        ``"channel"`` or ``"time"``; None where nothing can be chosen.
    index
        What was chosen, or None.
    size
        Length of the axis.
    what
        Name of the data, for the messages.

    Raises
    ------
    InputError
        If it must be chosen, or the choice is out of range.
    """
    if index is None:
        if size == 1:
            return 0
        if option is None:
            raise InputError(
                f"{what} has {size} entries on its axis {name!r}; save one of them as a stack."
            )
        raise ChoiceNeeded(
            f"{what} has {size} {option}s, 0 to {size - 1}: choose one, for example with "
            f"--{option} 0",
            option,
            [str(i) for i in range(size)],
        )
    if not 0 <= index < size:
        raise InputError(f"{what} has no {option or name} {index}: choose 0 to {size - 1}.")
    return index


def nanometres(values: Sequence[float], units: Sequence[str | None]) -> VoxelSize | None:
    """Return z, y, x sizes in nm, or None where a unit is missing or unknown, or a size absurd."""
    sizes = []
    for value, unit in zip(values, units, strict=True):
        factor = NANOMETRES.get(unit or "", NANOMETRES.get((unit or "").lower()))
        if factor is None or not (math.isfinite(value) and value > 0):
            return None
        sizes.append(float(f"{float(value) * factor:.12g}"))  # 0.004 um is 4 nm, not 4.0000000001
    return (sizes[0], sizes[1], sizes[2])


def check_voxel_size(voxel_size: Sequence[float] | None) -> VoxelSize | None:
    """Return a voxel size given by the caller as three floats.

    Raises
    ------
    InputError
        If it is not three positive finite numbers.
    """
    if voxel_size is None:
        return None
    try:
        z, y, x = (float(v) for v in voxel_size)
    except (TypeError, ValueError):
        z = y = x = math.nan
    if not all(math.isfinite(v) and v > 0 for v in (z, y, x)):
        raise InputError(
            f"voxel size {voxel_size!r} is not three positive numbers; give z, y, x in nm."
        )
    return (z, y, x)


def voxel_size_from_attributes(attributes: Mapping[str, Any]) -> VoxelSize | None:
    """Return the voxel size from attributes of an HDF5 dataset or a bare zarr array.

    Understood, all of them z, y, x: ``resolution`` and ``voxel_size`` (nm unless ``units`` says
    otherwise; CREMI, funlib) and ``element_size_um`` (µm; Fiji, ilastik). NGFF has its own way.
    """
    for key, default in (("resolution", "nm"), ("voxel_size", "nm"), ("element_size_um", "um")):
        if key not in attributes:
            continue
        try:
            values = [float(v) for v in np.ravel(attributes[key])]
        except (TypeError, ValueError):
            continue
        if len(values) != 3:
            continue
        given = attributes.get("units", attributes.get("unit"))
        named = [] if given is None or key == "element_size_um" else list(np.ravel(given))
        units = [u.decode() if isinstance(u, bytes) else str(u) for u in named]
        if len(units) == 1:
            units *= 3
        return nanometres(values, units if len(units) == 3 else [default] * 3)
    return None
