"""Which package is missing where a store at an address cannot be opened."""

from __future__ import annotations

from ..errors import InputError, first_line

_PACKAGES = {
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
}


def missing_package(address: object, error: ImportError) -> InputError:
    """Return what to install to open an address.

    Parameters
    ----------
    address
        Of a store; or a path, which needs nothing more.
    error
        What the import said.
    """
    package = _PACKAGES.get(str(address).partition("://")[0])
    if package is None:
        return InputError(f"{address} needs another package to be opened: {first_line(error)}.")
    extra = ' (or "napari-flowinpaint[remote]")' if package in ("aiohttp", "s3fs") else ""
    return InputError(
        f"{address} needs the package {package} to be opened; install it: "
        f"pip install {package}{extra}."
    )
