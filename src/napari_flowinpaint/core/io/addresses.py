"""Which addresses are opened."""

from __future__ import annotations

import re

from ..errors import InputError

#: What may be opened. Other protocols wait for ever, run programs or lead back into this machine.
PROTOCOLS = ("http", "https", "s3", "gs", "az")
_ADDRESS = re.compile(r"(?P<protocol>[a-z0-9+.-]{2,})://", re.IGNORECASE)


def is_address(path: str) -> bool:
    """Return whether a path is an address (``protocol://…``)."""
    return _ADDRESS.match(path) is not None


def check_address(address: str) -> None:
    """Refuse an address that is not one of a web server or an object store.

    Raises
    ------
    InputError
        Naming the protocols that are opened.
    """
    match = _ADDRESS.match(address)
    protocol = match["protocol"] if match else ""
    if protocol in PROTOCOLS and "::" not in address:  # which hands on to another protocol
        return
    raise InputError(
        f"{address} cannot be opened: only http, https, s3, gs and az addresses can be; copy the "
        "data to one of these, or to this computer."
    )
