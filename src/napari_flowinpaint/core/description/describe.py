"""What was repaired in a stack: sections, methods, shares of pixels, scores, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..disk.open_root import open_root
from ..section_repair import Provenance
from ..types import Box, VoxelSize
from ..writing.entries import DISPLACED
from ..writing.journal import Journal
from ..writing.recovery import JournalEntry
from ..writing.replay import EarlierRepairs
from ..writing.synthetic import read_labels
from ..writing.writeback import history

if TYPE_CHECKING:
    from ..io.levels import Level
    from ..io.stack import Stack


@dataclass(frozen=True, slots=True)
class RepairedSection:
    """A section with repairs.

    Parameters
    ----------
    z
        Section number.
    repairs
        The repairs in it, oldest first.
    synthetic, displaced
        Number of pixels that were made, and of the section's own that were moved; each counts
        once, however many repairs cover it.
    """

    z: int
    repairs: tuple[JournalEntry, ...]
    synthetic: int
    displaced: int

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, each once."""
        return tuple(dict.fromkeys(m for p in self._records for m in p.method.split("+")))

    @property
    def neighbours(self) -> tuple[int, ...]:
        """Sections that guided the repairs, ascending."""
        return tuple(sorted({n for p in self._records for n in p.neighbours}))

    @property
    def flags(self) -> tuple[str, ...]:
        """Why the repairs should be looked at, each reason once."""
        return tuple(dict.fromkeys(flag for p in self._records for flag in p.flags))

    def expected(self, score: str) -> float | None:
        """Return a predicted score, the worst of the repairs; None where nobody predicted it."""
        name = f"expected_{score}"
        found = [p.scores[name] for p in self._records if name in p.scores]
        return min(found) if found else None

    @property
    def _records(self) -> list[Provenance]:
        return [repair.provenance for repair in self.repairs]


@dataclass(frozen=True, slots=True)
class Description:
    """What was repaired in a stack.

    Parameters
    ----------
    name, shape, voxel_size
        Of the stack.
    sections
        Those with repairs, ascending.
    unknown
        Sections with pixels that are marked as synthetic by repairs that the journal does not have.
    """

    name: str
    shape: tuple[int, int, int]
    voxel_size: VoxelSize | None
    sections: tuple[RepairedSection, ...]
    unknown: tuple[int, ...] = ()

    @property
    def area(self) -> int:
        """Number of pixels of a section."""
        return self.shape[1] * self.shape[2]

    @property
    def synthetic(self) -> int:
        """Number of synthetic pixels."""
        return sum(section.synthetic for section in self.sections)

    @property
    def displaced(self) -> int:
        """Number of displaced pixels."""
        return sum(section.displaced for section in self.sections)

    @property
    def methods(self) -> Mapping[str, int]:
        """In how many sections each method was used, the most frequent first."""
        used = [method for section in self.sections for method in section.methods]
        return {m: used.count(m) for m in sorted(set(used), key=lambda m: (-used.count(m), m))}

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of this program that made the repairs."""
        return tuple(sorted({r.provenance.version for r in self._repairs()}))

    @property
    def weights(self) -> tuple[str, ...]:
        """Checksums of the weights that were used."""
        found = {r.provenance.weights_sha256 for r in self._repairs()}
        return tuple(sorted(sha for sha in found if sha))

    def _repairs(self) -> Iterable[JournalEntry]:
        return (repair for section in self.sections for repair in section.repairs)


def describe_stack(stack: Stack) -> Description:
    """Return what was repaired in a stack; nothing is written.

    Parameters
    ----------
    stack
        Any stack; one that was never repaired has no sections in the description.

    Raises
    ------
    StoreError
        If the journal or the marks are damaged.
    """
    found: dict[int, list[JournalEntry]] = {}
    for entry in history(stack):
        if entry.state != "reverted":
            found.setdefault(entry.z, []).append(entry)
    labels = _labels(stack) if found else None
    sections = []
    for z, repairs in sorted(found.items()):
        synthetic, displaced = _count(labels, z, repairs)
        sections.append(RepairedSection(z, tuple(repairs), synthetic, displaced))
    unknown = EarlierRepairs(stack).without_originals()
    return Description(stack.name, stack.shape, stack.voxel_size, tuple(sections), unknown)


def _labels(stack: Stack) -> Level | None:
    """Return the full resolution of the marks of a stack."""
    journal = Journal.of(stack)
    if journal is None:
        return None
    with open_root(journal.root) as root:
        return read_labels(root, stack.levels)


def _count(labels: Level | None, z: int, repairs: list[JournalEntry]) -> tuple[int, int]:
    """Return how many pixels are synthetic, and how many displaced."""
    boxes = [box for repair in repairs for box in repair.boxes]
    if labels is None or not boxes:
        return sum(repair.mask_pixels for repair in repairs), 0
    around = boxes[0]
    for box in boxes[1:]:
        around = around.union(box)
    around = around.intersection(Box.whole(labels.shape[1:]))
    marks = labels.read(z, around)
    displaced = int(np.count_nonzero(marks > DISPLACED))
    return int(np.count_nonzero(marks)) - displaced, displaced
