"""Importing costs next to nothing: neither napari's start nor ``--help`` waits for torch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

#: What takes long to import. napari is there anyway where the plugin runs, but not on a cluster.
HEAVY = ("torch", "dask", "cv2", "zarr", "ome_zarr", "h5py", "tifffile", "scipy", "skimage", "PIL")
GUI = ("napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt", "vispy")


def imported_by(script: str, *, beside: str = "") -> set[str]:
    """Return the top-level packages that a fresh interpreter imports when it runs ``script``.

    Without those that were there after ``beside``, which is run first.
    """
    probe = "{m.partition('.')[0] for m in sys.modules}"
    lines = ["import sys", beside, f"there = {probe}", script]
    lines += ["import json", f"print('\\n' + json.dumps(sorted({probe} - there)))"]
    process = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    return set(json.loads(process.stdout.splitlines()[-1]))


def test_the_probe_sees_imports():
    assert {"zipfile", "json"} <= imported_by("import zipfile")
    assert "zipfile" not in imported_by("import zipfile", beside="import zipfile")


@pytest.mark.parametrize(
    "script",
    [
        "import napari_flowinpaint",
        "import napari_flowinpaint.core.types",
        "from napari_flowinpaint.cli import run; assert run(['--help']) == 0",
        "from napari_flowinpaint.cli import run; assert run(['repair', '--help']) == 0",
        "from napari_flowinpaint.core.methods import available_methods; available_methods()",
    ],
)
def test_light_imports(script):
    assert imported_by(script).isdisjoint(HEAVY + GUI)


# sympy comes with torch's compiler, which takes longer to import than all else together
@pytest.mark.parametrize(
    ("method", "kept_out"), [("flow", ("torch", "dask")), ("flowinpaint", ("sympy",))]
)
def test_core_needs_no_gui(method, kept_out):
    script = (
        "import numpy as np\n"
        "from napari_flowinpaint import Stack, repair_section\n"
        "from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack\n"
        "stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 96, 96))))\n"
        "mask = np.zeros((96, 96), bool); mask[20:30, 20:30] = True\n"
        f"repair_section(stack, 1, mask, method='{method}')\n"
    )
    assert imported_by(script).isdisjoint((*GUI, *kept_out))


def test_plugin_discovery_imports_nothing_heavy():
    """What napari does when it starts: read the manifest, and import no plugin."""
    script = (
        "from npe2 import PluginManager\n"
        "manager = PluginManager()\n"
        "manager.discover()\n"
        "assert 'napari-flowinpaint' in manager\n"
    )
    assert imported_by(script).isdisjoint(("torch", "dask", "cv2", "zarr"))


def test_every_command_of_the_manifest_can_be_imported_without_torch():
    """Opening a dock or a menu must not wait for torch either."""
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(str(files("napari_flowinpaint") / "napari.yaml"))
    names = [command.python_name for command in manifest.contributions.commands]
    assert names
    script = "import importlib\nimport napari\n"
    for name in names:
        module, attribute = str(name).split(":")
        script += f"assert callable(getattr(importlib.import_module('{module}'), '{attribute}'))\n"
    # the window that the commands are in has been imported
    ours = imported_by(script, beside="import napari.viewer")
    assert "napari_flowinpaint" in ours
    assert ours.isdisjoint(("torch", "dask", "cv2", "scipy", "h5py", "tifffile"))


def test_public_names():
    import napari_flowinpaint

    for name in napari_flowinpaint.__all__:
        assert getattr(napari_flowinpaint, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'repare'"):
        napari_flowinpaint.repare  # noqa: B018


def test_sample_data():
    from napari_flowinpaint.viewer.sample_data import damaged_serial_sections

    (stack, image, kind), (mask, labels, mask_kind) = damaged_serial_sections()
    assert (kind, mask_kind) == ("image", "labels")
    assert stack.shape == mask.shape
    assert image["scale"] == labels["scale"] == (40.0, 4.0, 4.0)
    assert image["units"] == ("nm", "nm", "nm")
    assert sum(np.asarray(mask[z]).any() for z in range(len(stack))) >= 5
