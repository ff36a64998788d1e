"""``flowinpaint repair``: what it refuses, and what it leaves behind when it does."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from command_line import FAST, SHAPE, flowinpaint, refused, repair_arguments, tree

from napari_flowinpaint.cli import run


def test_missing_paths(data, capsys):
    for stack, mask in (("no.zarr", "mask.tif"), ("stack.zarr", "no.tif"), ("no.tif", "mask.tif")):
        error = refused(capsys, data, *repair_arguments(data, stack=stack, mask=mask))
        assert "does not exist" in error
    for command in ("history", "revert", "benchmark"):
        assert "does not exist" in refused(capsys, data, command, data / "no.zarr")


def test_not_a_stack(data, capsys, truth):
    tifffile.imwrite(data / "flat.tif", truth[0])
    colour = np.repeat(truth[0][..., None], 3, axis=2)
    tifffile.imwrite(data / "colour.tif", colour, photometric="rgb")
    zarr.create_array(str(data / "flat.zarr"), data=truth[0])
    (data / "text.tif").write_text("no image")
    zarr.create_array(str(data / "double.zarr"), data=truth.astype(np.float64))
    expected = {
        "flat.tif": "single image",
        "flat.zarr": "single image",
        "colour.tif": "colour",
        "text.tif": "not a TIFF",
        "double.zarr": "float64",
    }
    for name, words in expected.items():
        assert words in refused(capsys, data, *repair_arguments(data, stack=name)), name


def test_mask_of_another_shape(data, capsys, masks):
    tifffile.imwrite(data / "small.tif", masks[:, :90])
    tifffile.imwrite(data / "thin.tif", masks[:5])
    tifffile.imwrite(data / "one.tif", masks[4][:90])
    tifffile.imwrite(data / "fit.tif", masks[4])
    for mask, more in (("small.tif", ()), ("thin.tif", ()), ("one.tif", ("--sections", 4))):
        assert "shape" in refused(capsys, data, *repair_arguments(data, *more, mask=mask))
    for more in ((), ("--sections", "2,4")):
        error = refused(capsys, data, *repair_arguments(data, *more, mask="fit.tif"))
        assert "single section" in error


def test_empty_mask(data, capsys):
    tifffile.imwrite(data / "empty.tif", np.zeros(SHAPE, np.uint8))
    assert "empty" in refused(capsys, data, *repair_arguments(data, mask="empty.tif"))
    error = refused(capsys, data, *repair_arguments(data, "--sections", "2,3"))
    assert "section 3 is empty" in error


def test_truncated_chunk(data, capsys):
    chunk = next(p for p in sorted((data / "stack.zarr").rglob("c/4/*/*")) if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:40])
    error = refused(capsys, data, *repair_arguments(data))
    assert "section 4" in error
    output = ("--output", data / "out.zarr", "--sections", 2)
    arguments = repair_arguments(data, *output)
    error = refused(capsys, data, *arguments, kept="out.zarr.staging")
    assert "section 4 of" in error
    assert error.endswith(": section 2; run the same command again to continue from there.\n")


def test_read_only_store(data, capsys, monkeypatch):
    real = os.access
    store = str(data / "stack.zarr")

    def access(path, mode, **kwargs):
        if str(path).startswith(store) and mode & os.W_OK:
            return False  # root may write anywhere: the permission bits alone would not do
        return real(path, mode, **kwargs)

    monkeypatch.setattr(os, "access", access)
    assert "--output" in refused(capsys, data, *repair_arguments(data))


@pytest.mark.parametrize(
    "sections", ["7", "2,9", "-1", "4-2", "a", "2;4", "", "2-", "99999999999999999999"]
)
def test_wrong_sections(data, capsys, sections):
    refused(capsys, data, *repair_arguments(data, "--sections", sections))


def test_wrong_options(data, capsys):
    cases = {
        ("--method", "magic"): "unknown method",
        ("--device", "gpu"): "not a device",
        ("--device", "cuda:99"): "no device",
        ("--max-gap", "0"): "--max-gap",
        ("--voxel-size", "4,4"): "voxel size",
        ("--voxel-size", "a,b,c"): "not a list of numbers",
        ("--channel", "3"): "channel",
        ("--report", data / "no" / "report.json"): "does not exist",
        ("--report", data): "is a folder",
        ("--colour", "red"): "--colour",
    }
    for more, words in cases.items():
        assert words in refused(capsys, data, *repair_arguments(data, *more)), more


def test_where_to_write(data, capsys):
    base = ["repair", data / "stack.zarr", "--mask", data / "mask.tif"]
    assert "--in-place" in refused(capsys, data, *base)
    out = data / "out.zarr"
    assert "--in-place" in refused(capsys, data, *base, "--output", out, "--in-place")
    assert "folder" in refused(capsys, data, *base, "--output", data / "no" / "out.zarr")
    assert "stack itself" in refused(capsys, data, *base, "--output", data / "stack.zarr")
    inside = data / "stack.zarr" / "out.zarr"
    assert "stack itself" in refused(capsys, data, *base, "--output", inside)


def test_existing_output(data, capsys):
    output = data / "out.zarr"
    assert run([str(a) for a in repair_arguments(data, "--output", output)]) == 0
    assert "exists" in refused(capsys, data, *repair_arguments(data, "--output", output))
    assert run([str(a) for a in repair_arguments(data, "--output", output, "--overwrite")]) == 0
    (data / "photos").mkdir()
    (data / "photos" / "a.txt").write_text("mine")
    again = ("--output", data / "photos", "--overwrite")
    assert "not a zarr" in refused(capsys, data, *repair_arguments(data, *again))


def test_two_writers(data, capsys):
    """While another process holds the stack, nothing is written and the reason is said."""
    assert run([str(a) for a in repair_arguments(data, "--sections", 2)]) == 0
    script = (
        "import sys, time\n"
        "from napari_flowinpaint.core.open import open_stack\n"
        "from napari_flowinpaint.core.writing.writeback import revert\n"
        "stack = open_stack(sys.argv[1])\n"
        "def hold(fraction, message):\n"
        "    print('holding', flush=True)\n"
        "    time.sleep(60)\n"
        "revert(stack, progress=hold)\n"
    )
    command = [sys.executable, "-c", script, str(data / "stack.zarr")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "holding\n"
        try:
            arguments = repair_arguments(data, "--sections", 4)
            error = refused(capsys, data, *arguments, kept="stack.zarr.staging")
        finally:
            other.kill()
    assert "another" in error or "lock" in error
    assert run([str(a) for a in repair_arguments(data, "--sections", 4)]) == 0
    assert "already staged" in capsys.readouterr().out
    assert not (data / "stack.zarr.staging").exists()


@pytest.mark.parametrize("where", ["--in-place", "--output"])
def test_full_disk(data, where):
    """A limit on the size of files fails writes as a full disk does, at whatever point."""
    resource = pytest.importorskip("resource")
    before = tree(data)
    to = ("--in-place",) if where == "--in-place" else ("--output", data / "out.zarr")
    process = flowinpaint(
        *repair_arguments(data, *FAST, *to),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert error.startswith("flowinpaint: ")
    assert error.count("\n") == 1
    assert "space" in error or "full" in error
    left = tree(data)
    assert {k: v for k, v in left.items() if k in before} == before
    # the journal's folder and an empty label image may have been made, but no pixel
    assert not [k for k in left if k not in before and ".flowinpaint" not in k and "/c/" in k]
    assert not (data / "out.zarr").exists()
    assert run(["history", str(data / "stack.zarr")]) == 0
