"""Where the weights are."""

from __future__ import annotations

from pathlib import Path


def weights_directory() -> Path:
    """Return the folder that holds the weights and their cards.

    In a wheel they lie inside the package; in an editable install or a source tree, at the top
    of the repository.
    """
    package = Path(__file__).resolve().parents[2]
    packaged = package / "weights"
    return packaged if packaged.is_dir() else package.parents[1] / "weights"
