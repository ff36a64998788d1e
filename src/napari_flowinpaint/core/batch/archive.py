"""Files of a staging folder: a record and arrays, with digests and a seal.

``record.json`` has a digest of every array; the member ``seal`` is the seal of the record (see
:mod:`.seal`). So the record of a section can be checked without its pixels.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..io.npz import Npz
from ..types import AnyImage
from .seal import SealKey

#: A date that is always the same, for the members of an archive.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_RECORD, _SEAL = "record.json", "seal"


def pack(
    name: str, record: Mapping[str, Any], images: Mapping[str, AnyImage], key: SealKey
) -> bytes:
    """Return an archive that ``numpy.load`` opens and whose bytes follow from its content.

    Parameters
    ----------
    name
        Its path within the staging folder.
    record
        Plain JSON.
    images
        Arrays by name.
    key
        Seals it.
    """
    arrays = {label: np.ascontiguousarray(images[label]) for label in sorted(images)}
    record = {**record, "digests": {label: digest(array) for label, array in arrays.items()}}
    stored = json.dumps(record, indent=1, sort_keys=True).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(_member(_RECORD), stored)
        archive.writestr(_member(_SEAL), key.seal(name, stored))
        for label, array in arrays.items():
            with archive.open(_member(f"{label}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array)
    return buffer.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _NO_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def digest(array: AnyImage) -> str:
    """Return the SHA-256 of an array, with its type and shape."""
    stored = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    stored.update(np.ascontiguousarray(array).data)
    return stored.hexdigest()


def read_record(archive: Npz, name: str, key: SealKey, sealed: bool) -> bytes:
    """Return the record of an archive.

    Parameters
    ----------
    archive, name, key
        As for :func:`pack`.
    sealed
        Whether there must be a seal; not in folders of earlier versions.

    Raises
    ------
    ValueError
        If it was changed after it was written.
    """
    stored = archive.read(_RECORD)
    if _SEAL in archive.names:
        if not key.holds(archive.read(_SEAL, 4096).decode("ascii"), name, stored):
            raise ValueError("it was changed by another program")
    elif sealed:
        raise ValueError("it was changed by another program: its seal is gone")
    return stored


def check_digests(images: Mapping[str, AnyImage], stored: Mapping[str, str] | None) -> None:
    """Compare arrays with their digests; earlier versions wrote none.

    Raises
    ------
    ValueError
        If one is not what was written.
    """
    for label, array in images.items():
        if stored is not None and stored.get(label) != digest(array):
            raise ValueError(f"{label} was changed by another program")
