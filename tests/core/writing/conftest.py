"""Fixtures that tests of writing share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scenes import Scene


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing: for tests that kill nobody."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)
