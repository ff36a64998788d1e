"""What the attributes of the label image ``labels/synthetic`` tell of the repairs.

Every value has an entry in ``properties``, with what the journal knows of the repair, and a colour,
so that any reader of NGFF shows it. And they have the largest number that was ever used, so that no
number is given twice even where the journal was removed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..disk.folder import Folder
from .label_place import LARGEST
from .synthetic import LIMIT, MEANING, Labels, consolidate, label_names, marked_chunks

if TYPE_CHECKING:
    from ..section_repair import Provenance

#: Their colours, for viewers that take them from the label image: red, green, blue, alpha.
_SYNTHETIC_COLOUR, _DISPLACED_COLOUR = [63, 167, 255, 255], [255, 211, 77, 255]
#: Entries in ``properties``: they are read with every look at the label image, and written with
#: every repair.
MOST_TOLD = 4000


@dataclass(frozen=True, slots=True)
class RepairTold:
    """What the label image says of a repair.

    Parameters
    ----------
    moved
        Whether it has moved pixels.
    known
        What the journal knows of it; plain JSON types.
    """

    moved: bool = False
    known: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, z: int, provenance: Provenance, moved: bool) -> RepairTold:
        """Return what is said of a repair that is in a journal."""
        record = provenance
        known: dict[str, Any] = {
            "section": z,
            "method": record.method,
            "weights_sha256": record.weights_sha256,
            "guided_by": list(record.neighbours),
            "pixels_replaced": record.mask_pixels,
            "time": record.time,
            "version": record.version,
            "flags": list(record.flags),
        }
        scores = {k: v for k, v in record.scores.items() if k.startswith("expected")}
        known |= {k: float(v) for k, v in scores.items() if math.isfinite(v)}
        known = {k: v for k, v in known.items() if v not in (None, [], "")}
        return cls(moved, json.loads(json.dumps(known, default=lambda number: number.item())))


def largest_number(labels: Labels) -> int:
    """Return the largest number that a repair of a stack ever had, also if its journal is gone."""
    told = labels[0].source.attrs.get(LARGEST)
    if type(told) is int and 0 <= told < LIMIT:
        return told
    largest = 0
    for _, marks in marked_chunks(labels[0]):  # an older version has made it
        largest = max(largest, int(marks[marks < LIMIT].max(initial=0)))
    return largest


def note_largest(labels: Labels, number: int) -> None:
    """Remember the largest number of a repair."""
    attributes = labels[0].source.attrs
    if attributes.get(LARGEST) != number:
        attributes.update({LARGEST: number})


def describe(
    root: Folder, levels: Labels, scratch: Folder, told: Mapping[int, RepairTold | None]
) -> None:
    """Say in the attributes of the label image what its values mean.

    Every value has an entry in ``properties``, with what the journal knows of the repair, and in
    ``colors``, so that any reader of NGFF shows it; the first :data:`MOST_TOLD` repairs have.

    Parameters
    ----------
    root, levels, scratch
        As for :func:`~.synthetic.open_labels`.
    told
        By number of a repair what is to be said of it; None where it was reverted.
    """
    import zarr

    from ..io.folder_store import FolderStore

    names = label_names(levels)
    store = FolderStore(root.folder(*names), scratch=scratch)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome")
    before = (attributes if ome is None else ome).get("image-label")
    label = dict(before) if isinstance(before, dict) else {}
    label["flowinpaint"] = MEANING
    properties, colours = (_by_value(label.get(key)) for key in ("properties", "colors"))
    for number, repair in sorted(told.items()):
        for value in (number, number + LIMIT):
            properties.pop(value, None)
            colours.pop(value, None)
        if repair is None or len(properties) >= MOST_TOLD:
            continue
        kinds = [(number, "synthetic", _SYNTHETIC_COLOUR)]
        if repair.moved:
            kinds.append((number + LIMIT, "displaced", _DISPLACED_COLOUR))
        for value, what, colour in kinds:
            meaning = {"pixels": what, "repair": number, "description": MEANING[what]}
            properties[value] = {"label-value": value, **meaning, **repair.known}
            colours[value] = {"label-value": value, "rgba": colour}
    for key, entries in (("properties", properties), ("colors", colours)):
        if entries:
            label[key] = list(entries.values())
        else:
            label.pop(key, None)
    if label == before:
        return
    changed = {"image-label": label}
    group.attrs.update(changed if ome is None else {"ome": {**ome, **changed}})
    *home, name = names
    consolidate(root.folder(*home), name, scratch, again=True)
    if levels[0].path:
        consolidate(root, "/".join(names), scratch, again=True)


def _by_value(found: Any) -> dict[Any, Any]:
    """Return what is said of values, by value; entries that are none have a name of their own."""
    entries = found if isinstance(found, list) else []
    return {
        entry.get("label-value", f"no value {n}") if isinstance(entry, dict) else f"odd {n}": entry
        for n, entry in enumerate(entries)
    }
