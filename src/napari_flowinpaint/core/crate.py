"""``ro-crate-metadata.json`` of a store: what it is, and what was repaired in it.

RO-Crate 1.1, https://w3id.org/ro/crate/1.1, as other OME-Zarr carry it: in the root of the store.
zarr warns of it when it lists what is in the group, so it is written only where somebody asks for
it. By hand, since it is one JSON document; it has no licence of the data, which only their owner
knows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _version
from .disk.open_root import open_root
from .errors import InputError
from .io.crate_seal import CRATE, is_sealed, sealed
from .writing.writeback import history

if TYPE_CHECKING:
    from .io.stack import Stack
    from .writing.recovery import JournalEntry

_SOFTWARE = "#napari-flowinpaint"
_MARKS = "labels/synthetic/"


def write_crate(stack: Stack, name: str, *, overwrite: bool = False) -> Path:
    """Write the metadata of a local zarr store into it.

    Parameters
    ----------
    stack
        The stack.
    name
        What it is called.
    overwrite
        Whether metadata are replaced that somebody else has written, or completed.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the stack is not an OME-Zarr on this computer, or there are such metadata.
    """
    group = stack.group_path
    if group is None or stack.beside is not None or not stack.levels[0].path:
        raise InputError(
            f"{stack.name} is not an OME-Zarr on this computer; write one first with Save as "
            "OME-Zarr… in napari or `flowinpaint repair --mask MASK --output OUT.zarr --ro-crate`."
        )
    with open_root(group) as root:
        if root.is_folder(CRATE):
            raise InputError(f"{group / CRATE} is a folder; move it away.")
        ours = not root.is_file(CRATE) or is_sealed(root.read(CRATE))
        if not (ours or overwrite):
            raise InputError(
                f"{group / CRATE} was not written by flowinpaint; add --overwrite to replace it."
            )
        root.write(CRATE, crate_of(stack, name))
    return group / CRATE


def crate_of(stack: Stack, name: str) -> bytes:
    """Return the metadata of a store, as the file has them.

    Parameters
    ----------
    stack
        The store, complete.
    name
        What it is called.
    """
    repairs = [entry for entry in history(stack) if entry.state != "reverted"]
    depth, height, width = stack.shape
    what = f"{depth} sections of {height} x {width} pixels, {stack.dtype}"
    if stack.voxel_size is not None:
        what += ", voxels of " + " x ".join(f"{n:g}" for n in stack.voxel_size) + " nm (z, y, x)"
    sections = len({entry.z for entry in repairs})
    told = f"{sections} of them repaired" if repairs else "none of them repaired"
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": name,
        "description": f"Volume electron microscopy stack as OME-Zarr: {what}; {told}.",
        "datePublished": datetime.now(UTC).date().isoformat(),
    }
    graph: list[dict[str, Any]] = [
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        root,
        {
            "@id": _SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "napari-flowinpaint",
            "version": _version.__version__,
        },
    ]
    if repairs:
        root["hasPart"] = [{"@id": _MARKS}]
        root["mentions"] = [{"@id": _id(entry)} for entry in repairs]
        graph.append(
            {
                "@id": _MARKS,
                "@type": "Dataset",
                "name": "synthetic pixels",
                "description": "Label image: 0 where pixels are the microscope's, else the number "
                "of the repair that made them, plus 2147483648 where it moved them.",
            }
        )
        graph += map(_action, repairs)
    document = {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}
    return sealed(document)


def _id(entry: JournalEntry) -> str:
    return f"#repair-{entry.id}-section-{entry.z}"


def _action(entry: JournalEntry) -> dict[str, Any]:
    """Return what is said of one repair."""
    record = entry.provenance
    guides = ", ".join(map(str, record.neighbours)) or "none"
    weights = f"; weights {record.weights_sha256}" if record.weights_sha256 else ""
    return {
        "@id": _id(entry),
        "@type": "CreateAction",
        "name": f"Repair {entry.id}: section {entry.z}",
        "description": f"{record.mask_pixels} pixels by the method {record.method} of version "
        f"{record.version}, guided by section {guides}{weights}",
        "endTime": record.time,
        "instrument": {"@id": _SOFTWARE},
        "object": {"@id": "./"},
        "result": {"@id": _MARKS},
    }
