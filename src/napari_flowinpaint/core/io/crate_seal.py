"""``ro-crate-metadata.json`` of ours, told from one that somebody has written or completed.

A store is replaced with all that is in it; what somebody has added to the metadata is not ours to
remove. The descriptor of the file has a digest of the rest.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

CRATE = "ro-crate-metadata.json"
_PREFIX = "sha256:"


def sealed(document: dict[str, Any]) -> bytes:
    """Return an RO-Crate as the file has it; its first entity gets the digest."""
    first, *rest = document["@graph"]
    first = {**first, "identifier": _digest(document)}
    return _bytes({**document, "@graph": [first, *rest]})


def is_sealed(content: bytes) -> bool:
    """Return whether a file is one that we wrote and nobody has changed."""
    try:
        document = json.loads(content)
        first, *rest = document["@graph"]
        told = first.pop("identifier")
        return bool(told == _digest({**document, "@graph": [first, *rest]}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _digest(document: dict[str, Any]) -> str:
    return _PREFIX + hashlib.sha256(_bytes(document)).hexdigest()


def _bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
