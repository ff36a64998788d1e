"""What a user gets: the wheel holds the manifest and the weights, and finds them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import napari_flowinpaint
from napari_flowinpaint.core.networks.weights import weights_directory

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("no source tree here to build from")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_is_complete(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (n for n in names if n.endswith("METADATA"))
        text = archive.read(metadata).decode()
        (entries,) = (n for n in names if n.endswith("entry_points.txt"))
        points = archive.read(entries).decode()
    assert "napari_flowinpaint/napari.yaml" in names
    weights = {f"napari_flowinpaint/weights/{p.name}" for p in (ROOT / "weights").iterdir()}
    assert weights <= names
    sources = (ROOT / "src" / "napari_flowinpaint").rglob("*.py")
    assert {str(p.relative_to(ROOT / "src").as_posix()) for p in sources} <= names
    assert not [n for n in names if n.startswith("tests")]
    assert f"Version: {napari_flowinpaint.__version__}" in text
    assert "Classifier: Framework :: napari" in text
    assert "flowinpaint = napari_flowinpaint.cli:main" in points
    assert "napari-flowinpaint = napari_flowinpaint:napari.yaml" in points


def test_base_dependencies_bring_no_qt(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith("METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    requires = [line.removeprefix("Requires-Dist: ") for line in lines if "Requires-Dist" in line]
    base = [r for r in requires if "extra ==" not in r]
    assert base
    assert not [r for r in base if "qt6" in r.lower() or "pyside" in r.lower() or "[" in r]
    assert not [r for r in base if r.startswith("torchvision")]


def test_weights_are_found_in_a_source_tree():
    assert (weights_directory() / "README.md").is_file()


def test_weights_are_found_in_a_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "from napari_flowinpaint.core.networks.weights import weights_directory as w; print(w())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == tmp_path / "napari_flowinpaint" / "weights"


def test_manifest_is_valid():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-flowinpaint")
    manifest.validate_imports()
    assert manifest.display_name == "FlowInpaint"
    assert [s.key for s in manifest.contributions.sample_data] == ["damaged-serial-sections"]
