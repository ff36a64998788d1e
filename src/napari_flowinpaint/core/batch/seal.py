"""Seals: how it shows that a staged file was changed after we wrote it.

A seal is a keyed digest (HMAC-SHA-256) of the name and the content of a file. The key is one per
user and lies in the state folder of the system, outside any staging folder. So whoever changes a
staged file, by accident or on purpose, cannot make the seal for it. A file that was sealed with the
key of somebody else (another machine, another user) cannot be checked here: of what it says no
pixel outside the mask is written, that is all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..disk.lock import locked
from ..disk.open_root import open_root
from ..errors import StoreError

_NAME = "staging.key"
_BYTES = 32


@dataclass(frozen=True, slots=True)
class SealKey:
    """A key; sent to the workers of a batch with their tasks.

    Parameters
    ----------
    secret
        Random bytes.
    """

    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What tells it from other keys."""
        return hashlib.sha256(b"name of " + self.secret).hexdigest()[:16]

    def seal(self, name: str, content: bytes) -> str:
        """Return the seal of a file.

        Parameters
        ----------
        name
            Its path within the staging folder.
        content
            What it says.
        """
        message = name.encode() + b"\0" + content
        return f"{self.name}:{hmac.digest(self.secret, message, 'sha256').hex()}"

    def holds(self, seal: str, name: str, content: bytes) -> bool:
        """Return whether a seal is right, as far as this key can tell."""
        if seal.partition(":")[0] != self.name:
            return True  # somebody else's
        return hmac.compare_digest(seal.encode(), self.seal(name, content).encode())


@lru_cache(maxsize=1)
def own_key() -> SealKey:
    """Return the user's key, which is made where there is none.

    Where it cannot be kept, there is one for this process alone.
    """
    from platformdirs import user_state_path

    try:
        return SealKey(_keep(user_state_path("napari-flowinpaint")))
    except (OSError, StoreError):
        return SealKey(secrets.token_bytes(_BYTES))


def _keep(folder: Path) -> bytes:
    """Return the key in a folder of the user's own; two who ask at once get the same."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_root(folder) as opened, locked(opened, folder, name=f"{_NAME}.lock"):
        if opened.is_file(_NAME):
            found = opened.read(_NAME, 4096)
            if len(found) == _BYTES:
                return found
        made = secrets.token_bytes(_BYTES)
        opened.write(_NAME, b"")
        os.chmod(folder / _NAME, 0o600)  # noqa: PTH101  (a file that is replaced keeps them)
        opened.write(_NAME, made)
        return made
