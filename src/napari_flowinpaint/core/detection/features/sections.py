"""Maps and registrations of a stack, made once and kept for a while, by several threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...errors import StoreError
from .maps import SectionMaps, make_features, texture_of
from .morphology import parts_deeper_than
from .view import (
    BLANK,
    PER_SIDE,
    REACH,
    NeighbourView,
    SectionShift,
    View,
    match,
    register,
)
from .working_level import WorkingSection, read_working, working_factor, working_zoom

if TYPE_CHECKING:
    from ...io.stack import Stack

_T = TypeVar("_T")

#: Sections from which the usual texture of a stack is taken.
_SAMPLES = 7
#: With neighbours on one side only, or far away, thresholds are higher by this.
_ONE_SIDED = 1.4
#: How deep what is lost at the border of a section is, as a share of its side, and what share of it
#: the sections beside it show.
_LOST, _SHOWN = 0.25, 0.95


class _Cache:
    """Remember the results used last; each is computed by one thread, for which others wait."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        with self._lock:
            future = self._kept.get(key)
            mine = future is None
            if future is None:
                future = self._kept[key] = Future()
            self._kept.move_to_end(key)
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._kept.pop(key, None)
                future.set_exception(error)
        return future.result()


class Sections:
    """Views of the sections of a stack; safe to be used by several threads.

    Parameters
    ----------
    stack
        The stack.
    side
        Longer side of the working level, about, in pixels.
    workers
        How many threads will ask; sets how much is remembered.
    """

    def __init__(self, stack: Stack, side: int = 512, workers: int = 1) -> None:
        self.stack = stack
        self.factor = working_factor(stack.shape[1:], side)
        self.zoom = working_zoom(stack.shape[1:], side)
        kept = 2 * PER_SIDE + 3 + 2 * workers
        self._features = _Cache(kept)
        self._registrations = _Cache(4 * kept)
        self._texture = _Cache(1)

    def features(self, z: int) -> SectionMaps:
        """Return the maps of a section."""

        def make() -> SectionMaps:
            found = self._with_lost_parts(z, read_working(self.stack, z, self.factor))
            return make_features(z, found.mirrored(), self.zoom, found.imaged)

        return self._features.get(z, make)

    def keep(self, z: int, maps: SectionMaps) -> None:
        """Use maps that were made before, of a section with the same pixels.

        They are forgotten like any others; to look at one section of a stack after another keep
        its neighbours' each time.
        """
        self._features.get(z, lambda: maps)

    def _with_lost_parts(self, z: int, found: WorkingSection) -> WorkingSection:
        """Return a section of which lost parts count as imaged: as damage, then.

        A part that is constant up to the border is lost, and not padding, if it is far deeper than
        borders move and both sections beside it show all of it.
        """
        if found.imaged is None:
            return found
        deep = parts_deeper_than(~found.imaged, _LOST * min(found.grey.shape))
        beside = [n for n in (z - 1, z + 1) if 0 <= n < self.stack.shape[0]]
        for n in beside if deep else []:
            with suppress(StoreError):
                theirs = read_working(self.stack, n, self.factor).imaged
                if theirs is not None:
                    deep = [part for part in deep if theirs[part].mean() > _SHOWN]
        imaged = found.imaged.copy()
        for part in deep if beside else []:
            imaged |= part
        return replace(found, imaged=None if imaged.all() else imaged)

    @property
    def texture(self) -> float:
        """Usual texture of the stack: the median over sections spread over its depth.

        Of sections that are not blank, as long as there is one.
        """

        def make() -> float:
            depth = self.stack.shape[0]
            chosen = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLES)).round().astype(int))
            values = []
            for z in chosen.tolist():
                with suppress(StoreError):
                    found = read_working(self.stack, z, self.factor)
                    values.append(texture_of(found.mirrored(), self.zoom, found.imaged))
            visible = [v for v in values if v > 0.1 * max(values, default=0.0)]
            return float(np.median(visible)) if visible else 0.0

        return self._texture.get("texture", make)

    def registration(self, z: int, other: int) -> SectionShift:
        """Return how section ``z`` lies on ``other``."""
        low, high = min(z, other), max(z, other)
        found = self._registrations.get(
            (low, high), lambda: register(self.features(low), self.features(high))
        )
        return found if z == low else found.reverse()

    def view(self, z: int, strictness: float = 1.0) -> View:
        """Return a section between its neighbours."""
        section = self.features(z)
        blank = section.texture < BLANK * self.texture
        before, after = (self._side(z, step, blank) for step in (-1, +1))
        pairs = [(features, registration.shift) for features, registration in before + after]
        matched = [(1.0, 0.0)] * len(pairs) if blank else match(section, pairs)
        neighbours = tuple(
            NeighbourView(*lying, *levels)
            for lying, levels in zip(before + after, matched, strict=True)
        )
        previous, following = neighbours[: len(before)], neighbours[len(before) :]
        spreads = [n.gain * n.features.spread for n in neighbours]
        contrast = median(spreads) if spreads else section.spread
        view = View(
            section=section,
            previous=previous,
            following=following,
            contrast=max(contrast, 1e-6),
            texture=self.texture,
            strictness=strictness,
            between=self._between(previous, following),
            beside=self._beside(previous, following),
            factor=self.factor / self.zoom,
            value_range=self.stack.value_range,
            voxel_size=self.stack.voxel_size,
        )
        return view if view.two_sided else replace(view, strictness=strictness * _ONE_SIDED)

    def _side(self, z: int, step: int, blank: bool) -> list[tuple[SectionMaps, SectionShift]]:
        """Return the nearest sections on one side that show something, and how they lie."""
        found: list[tuple[SectionMaps, SectionShift]] = []
        for distance in range(1, REACH + 1):
            other = z + step * distance
            if len(found) == PER_SIDE or not 0 <= other < self.stack.shape[0]:
                break
            try:
                features = self.features(other)
            except StoreError:  # a section that cannot be read is nobody's neighbour
                continue
            if features.texture < BLANK * self.texture:
                continue
            registration = SectionShift((0, 0), 0.0, 0.0) if blank else self.registration(z, other)
            found.append((features, registration))
        return found

    def _between(
        self, previous: tuple[NeighbourView, ...], following: tuple[NeighbourView, ...]
    ) -> float:
        pair = (previous[:1] + following[:1]) if previous and following else previous + following
        if len(pair) < 2:
            return float("nan")
        return self.registration(pair[0].features.z, pair[1].features.z).before

    def _beside(
        self, previous: tuple[NeighbourView, ...], following: tuple[NeighbourView, ...]
    ) -> float:
        if min(len(previous), len(following)) < 2:
            return float("nan")
        pairs = [(n[0].features.z, n[1].features.z) for n in (previous, following)]
        return min(self.registration(*pair).before for pair in pairs)
