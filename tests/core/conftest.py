"""Fixtures that several core tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Real stacks for development, beside a checkout; tests that use them skip where they are absent.
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def real_stack() -> Path:
    """A real serial-section stack."""
    path = DATA / "vnc_sstem_isbi2012.tif"
    if not path.exists():
        pytest.skip(f"the real stacks are not in {DATA}")
    return path
