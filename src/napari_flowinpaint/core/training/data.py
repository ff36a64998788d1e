"""Training data: triplets of sections from stacks, damaged and distorted at random.

Every sample is a function of (seed, step, number in the batch), so that a resumed training sees
what an uninterrupted one would have seen.
"""

from __future__ import annotations

import copy
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, counted
from ..io.no_data import imaged_pixels, mirror_tissue
from ..types import AnyImage, BoolImage
from .distortions import bend, crops, degrade, normalise, polarity, restain, roughen, turned
from .training_masks import training_mask

#: Batches made ahead by the loading thread.
_AHEAD = 4
#: Crops of varied size are this large at least, pixels ...
LEAST = 256
#: ... and have sides that are multiples of this, as the networks need them.
STEP = 32
#: How often another place is tried where less than this share of the crops was imaged.
_PLACES, _IMAGED = 20, 0.95


@dataclass(frozen=True)
class StackSpec:
    """A stack to train on, or to validate on.

    Parameters
    ----------
    path
        Anything :func:`~napari_flowinpaint.core.open.open_stack` opens.
    sections
        The sections that may be looked at; None is all.
    spacings
        Distances, in sections, of the guiding sections. More than one distance, or one above 1,
        says the stack is isotropic and imitates thicker sections: then all three axes serve as
        the axial one.
    allow_external
        Whether the file may show data of other files, as for ``open_stack``.
    no_data
        Grey value that means that nothing was imaged, besides the padding that is found anyway.
    """

    path: str
    sections: tuple[int, ...] | None = None
    spacings: tuple[int, ...] = (1,)
    allow_external: bool = False
    no_data: float | None = None

    @property
    def isotropic(self) -> bool:
        """Whether the stack is cut along all three axes."""
        return self.spacings != (1,)

    @classmethod
    def parse(cls, text: str) -> StackSpec:
        """Read ``PATH[@SECTIONS[@SPACINGS]]``, for example ``a.tif@0-15`` or ``b.tif@@2-7``.

        Raises
        ------
        InputError
            If sections or spacings are not numbers.
        """
        path, *rest = text.split("@")
        if len(rest) > 2:
            raise InputError(f"'{text}' is not PATH[@SECTIONS[@SPACINGS]].")
        numbers = [_numbers(part, text) if part else None for part in rest]
        sections = numbers[0] if numbers else None
        spacings = (numbers[1] if len(numbers) > 1 else None) or (1,)
        return cls(path, sections, spacings)

    def read(self) -> tuple[AnyImage, BoolImage | None]:
        """Return the pixels of the chosen sections, (N, Y, X) in the stack's dtype.

        And where they were imaged, of the same shape, or None where all was. Elsewhere tissue is
        mirrored.

        Raises
        ------
        InputError
            Where there is no such stack or section, or too few sections.
        """
        pixels = _read_pixels(self.path, self.allow_external)
        if self.sections is not None:
            if max(self.sections) >= len(pixels):
                raise InputError(f"{self.path} has only {len(pixels)} sections.")
            if np.any(np.diff(self.sections) != 1):
                raise InputError(f"{self.path}: give consecutive sections, such as @0-15.")
            pixels = pixels[self.sections[0] : self.sections[-1] + 1]
        if len(pixels) <= 2 * min(self.spacings):
            raise InputError(
                f"{self.path}: {len(pixels)} sections are too few for neighbours "
                f"{counted(min(self.spacings), 'section')} away on both sides."
            )
        return _tissue(pixels, self.no_data)


def _tissue(pixels: AnyImage, no_data: float | None) -> tuple[AnyImage, BoolImage | None]:
    """Return sections with tissue mirrored into their no data, and where they were imaged."""
    imaged = [imaged_pixels(section, no_data) for section in pixels]
    if all(shown.all() for shown in imaged):
        return pixels, None
    mirrored = [mirror_tissue(*pair) for pair in zip(pixels, imaged, strict=True)]
    return np.stack(mirrored), np.stack(imaged)


def _numbers(text: str, whole: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            numbers += range(int(first), int(last or first) + 1)
        except ValueError:
            raise InputError(f"'{text}' in '{whole}' is not a list such as 3,7-9.") from None
    if not numbers or min(numbers) < 0:
        raise InputError(f"'{text}' in '{whole}' names nothing; write for example 3,7-9.")
    return tuple(numbers)


def _read_pixels(path: str, allow_external: bool) -> AnyImage:
    """Read a whole stack: plain TIFF by tifffile alone, all else as the rest of the package does.

    Three pages may have been saved as colour channels; here they are sections.
    """
    if Path(path).suffix.lower() in (".tif", ".tiff"):
        import tifffile

        try:
            with tifffile.TiffFile(path) as file:
                # OME-XML may name other files
                pixels = None if file.is_ome else file.asarray()
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}.") from None
        if pixels is not None and pixels.ndim == 3:
            return np.asarray(pixels)
    from ..open import open_stack

    stack = open_stack(path, allow_external=allow_external)
    return np.stack([stack.read(z) for z in range(stack.shape[0])])


class Batch:
    """Base of batches that are dataclasses of tensors."""

    def to(self, device: str) -> Self:
        """Return the batch on a device."""
        return type(self)(*(v.to(device) for v in vars(self).values()))


@dataclass(frozen=True)
class TrainingBatch:
    """What one training step sees; images (B, 1, H, W), normalised by the intact pixels.

    Parameters
    ----------
    truth
        The sections, undamaged.
    known
        1 where a section may be looked at.
    neighbours
        Previous and following.
    valid
        1 where they show something.
    alpha
        (B,).
    """

    truth: Tensor
    known: Tensor
    neighbours: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    alpha: Tensor

    def to(self, device: str) -> TrainingBatch:
        """Return the batch on a device, channels last."""

        def move(image: Tensor) -> Tensor:
            return image.to(device, memory_format=torch.channels_last, non_blocking=True)

        return TrainingBatch(
            move(self.truth),
            move(self.known),
            (move(self.neighbours[0]), move(self.neighbours[1])),
            (move(self.valid[0]), move(self.valid[1])),
            self.alpha.to(device, non_blocking=True),
        )


B = TypeVar("B")


class Samples(ABC, Generic[B]):
    """Draws the batches of a training, of any kind."""

    #: Seed of everything.
    seed: int

    def draws(self, step: int, count: int) -> list[np.random.Generator]:
        """Return the random generators of the samples of one step; every step has others."""
        return [np.random.default_rng((self.seed, step, number)) for number in range(count)]

    @abstractmethod
    def batch(self, step: int, count: int) -> B:
        """Return the batch of one step; the same step gives the same batch."""

    def batches(self, first: int, last: int, count: int) -> Iterator[B]:
        """Yield the batches of steps ``first`` to ``last`` (exclusive), made ahead in a thread."""
        ready: queue.Queue[B | BaseException] = queue.Queue(_AHEAD)
        stop = threading.Event()

        def put(item: B | BaseException) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.5)
                except queue.Full:
                    continue

        def make() -> None:
            try:
                for step in range(first, last):
                    if stop.is_set():
                        return
                    put(self.batch(step, count))
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        try:
            for _ in range(first, last):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()


class Triplets(Samples[TrainingBatch]):
    """Draws training samples.

    Parameters
    ----------
    specs
        The stacks; each is drawn from equally often.
    size
        Side of the crops, pixels.
    seed
        Seed of everything.
    varied
        Whether crops have any side from :data:`LEAST` to ``size`` that the view has room for;
        only for batches of one. Large crops teach large holes, small ones leave room to be turned
        and shifted.
    """

    def __init__(
        self, specs: Sequence[StackSpec], size: int, seed: int, *, varied: bool = False
    ) -> None:
        self.size = size
        self.seed = seed
        self.least = min(size, LEAST) if varied else size
        self._stacks = [(spec, cuts(spec, self.least)) for spec in specs]

    def batch(self, step: int, count: int) -> TrainingBatch:
        """Return the batch of one step; the same step gives the same batch."""
        samples = [self._sample(rng) for rng in self.draws(step, count)]
        stacked = [torch.stack(parts)[:, None] for parts in zip(*samples, strict=True)]
        truth, known, previous, following, valid_p, valid_f, alpha = stacked
        return TrainingBatch(
            truth, known, (previous, following), (valid_p, valid_f), alpha.reshape(-1)
        )

    def _side(self, room: int, rng: np.random.Generator) -> int:
        """Return the side of a crop of a section ``room`` pixels wide."""
        if self.least == self.size:
            return self.size
        return int(rng.integers(self.least // STEP, min(self.size, room) // STEP + 1)) * STEP

    def _sample(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return truth, known, previous, following, their validity, alpha."""
        spec, views = self._stacks[rng.integers(len(self._stacks))]
        pixels, imaged = views[rng.integers(len(views))]
        before, after = _distances(spec, len(pixels), rng)
        z = int(rng.integers(before, len(pixels) - after))
        size = self._side(min(pixels.shape[1:]), rng)
        chosen = (z, z - before, z + after)
        images = imaged_crops(pixels, imaged, chosen, size, rng)
        alpha = before / (before + after)
        if rng.random() < 0.5:
            images, alpha = images[:, [0, 2, 1]], 1 - alpha
        images = turned(images, rng)
        known = ~torch.from_numpy(training_mask(size, rng))
        truth, *neighbours = _restained(images[0], known, rng)
        degraded = [degrade(neighbour, rng) for neighbour in neighbours]
        sign = polarity(rng)
        shown = [sign * image for image, _ in degraded]
        valid = [good for _, good in degraded]
        return (sign * truth, known.float(), *shown, *valid, torch.tensor(alpha).float()[None])


def imaged_crops(
    pixels: AnyImage,
    imaged: BoolImage | None,
    sections: Sequence[int],
    size: int,
    rng: np.random.Generator,
) -> Tensor:
    """Return crops as :func:`.crops` does, of a place that was imaged, if there is one."""
    for _ in range(_PLACES):
        same = copy.deepcopy(rng)
        images = crops([pixels[z] for z in sections], size, rng)
        if imaged is None:
            break
        shown = crops([imaged[z] for z in sections], size, same)
        if float((shown > 0.5).float().mean()) >= _IMAGED:
            break
    return images


def _restained(images: Tensor, known: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Return a section and its neighbours (N, H, W) as other sections might look, normalised.

    The section is normalised by what is known of it, the neighbours by all they show.
    """
    where = [known, *[torch.ones_like(known)] * (len(images) - 1)]
    bent = [images[0], *(bend(image, rng) for image in images[1:])]
    curve = float(rng.normal(0, 0.06))
    stained = [
        restain(normalise(image, seen), curve + float(rng.normal(0, 0.02)), rng)
        for image, seen in zip(bent, where, strict=True)
    ]
    rough = roughen(stained, rng)
    return tuple(normalise(image, seen) for image, seen in zip(rough, where, strict=True))


def cuts(spec: StackSpec, size: int) -> list[tuple[AnyImage, BoolImage | None]]:
    """Return a stack cut along its axial axis, or along all three that leave room for crops.

    Each with where it was imaged; None for everywhere.
    """
    pixels, imaged = spec.read()
    axes = [(0, 1, 2), (1, 0, 2), (2, 0, 1)] if spec.isotropic else [(0, 1, 2)]
    along = [
        (pixels.transpose(order), None if imaged is None else imaged.transpose(order))
        for order in axes
    ]
    views = [
        view
        for view in along
        if min(view[0].shape[1:]) >= size and len(view[0]) > 2 * min(spec.spacings)
    ]
    if not views:
        raise InputError(f"{spec.path} is smaller than the crops of {size} pixels.")
    return views


def _distances(spec: StackSpec, depth: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the distances to previous and following: equal mostly, so that alpha is 0.5."""
    possible = [s for s in spec.spacings if 2 * s < depth]
    before = int(rng.choice(possible))
    if rng.random() >= 0.12:
        return before, before
    if not spec.isotropic:
        return (1, 2) if depth > 3 else (1, 1)
    after = int(rng.choice(possible))
    return before, after
