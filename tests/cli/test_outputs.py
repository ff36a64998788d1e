"""Where stores are written: what every command refuses, before anything is computed."""

from __future__ import annotations

import pytest
import zarr
from command_line import refused, repair_arguments
from make_stacks import volume, write_ngff

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.detection.store import read_detection
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.viewer.tasks.mask_tools import save_mask

COMMANDS = ("repair", "detect", "originals")


def arguments(command: str, data, output, *more: object, stack="stack.zarr") -> list:
    if command == "repair":
        return repair_arguments(data, "--method", "flow", "--output", output, *more, stack=stack)
    return [command, data / stack, "--output", output, *more]


@pytest.fixture
def no_computing(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("something was computed")

    for name in ("batch.run_batch", "detection.detect_stack.detect_stack", "export._copy"):
        monkeypatch.setattr(f"napari_flowinpaint.core.{name}", fail)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_is_not_called_like_a_file(data, capsys, no_computing, command):
    for name in ("x.tif", "x.TIFF", "x.ome.tif", "x.png", "x.mrc", "x.h5", "x.zarr.zip", "x.npy"):
        error = refused(capsys, data, *arguments(command, data, data / name))
        assert f"{name} is the name of a file" in error
        assert "such as x" in error
    assert not (data / "x.tif").exists()


def test_the_name_that_is_proposed_can_be_had(data, capsys):
    error = refused(capsys, data, *arguments("originals", data, data / "x.ome.tif"))
    proposed = error.strip().removesuffix(".").rpartition(" ")[2]
    assert proposed == "x.ome.zarr"
    assert run([str(a) for a in arguments("originals", data, data / proposed)]) == 0
    assert open_stack(data / proposed).kind == "ome-zarr"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_nothing_is_written_into_another_store(data, capsys, no_computing, command, version):
    write_ngff(data / "other.zarr", volume((2, 30, 30)), version=version)
    (data / "other.zarr" / "labels").mkdir()
    (data / "other.zarr" / "extra").mkdir()
    zarr.create_array(str(data / "array.zarr"), data=volume((2, 30, 30)))
    for where in ("other.zarr", "other.zarr/labels", "other.zarr/0", "other.zarr/extra"):
        error = refused(capsys, data, *arguments(command, data, data / where / "x.zarr"))
        assert (
            f"lies within {data / where}" in error or f"lies within {data / 'other.zarr'}" in error
        )
        assert "choose a folder outside of it" in error
    error = refused(capsys, data, *arguments(command, data, data / "array.zarr" / "x.zarr"))
    assert f"lies within {data / 'array.zarr'}" in error
    (data / "link").symlink_to(data / "other.zarr")
    assert "lies within" in refused(capsys, data, *arguments(command, data, data / "link/x.zarr"))
    (data / "stack.zarr" / "labels").mkdir(exist_ok=True)
    for stack in ("stack.zarr", "stack.zarr/0"):
        inside = data / "stack.zarr" / "labels" / "x.zarr"
        error = refused(capsys, data, *arguments(command, data, inside, stack=stack))
        assert "choose" in error


def test_a_group_that_is_no_image_may_hold_stores(data):
    zarr.create_group(str(data / "project.zarr"))
    output = data / "project.zarr" / "raw"
    assert run([str(a) for a in arguments("originals", data, output)]) == 0
    assert open_stack(output).shape == open_stack(data / "stack.zarr").shape


def test_staging_and_demo_stay_outside_of_stores_too(data, capsys, no_computing):
    write_ngff(data / "other.zarr", volume((2, 30, 30)))
    inside = data / "other.zarr" / "x"
    assert "lies within" in refused(capsys, data, *repair_arguments(data, "--staging", inside))
    assert "lies within" in refused(capsys, data, "demo", "--no-window", "--folder", inside)


def save_a_mask(stack: Stack, path) -> None:
    mask = SparseMask(stack.shape)
    mask[1, 5:9, 5:9] = 1
    mask.commit()
    save_mask(stack, mask.frozen(), path, progress=lambda fraction, message: None)


def test_detect_replaces_masks_only(data, capsys):
    """A stack is no mask, whoever has written it."""
    stack = open_stack(data / "stack.zarr")
    search = ("--kinds", "missing", "--overwrite")
    write_ngff(data / "other.zarr", volume((2, 30, 30)))
    write_ngff(data / "old.zarr", volume((2, 30, 30)), version="0.4")
    zarr.create_array(str(data / "array.zarr"), data=volume((2, 30, 30)))
    assert run([str(a) for a in arguments("originals", data, data / "copy.zarr")]) == 0
    for name in ("other.zarr", "old.zarr", "array.zarr", "copy.zarr"):
        error = refused(capsys, data, *arguments("detect", data, data / name, *search))
        assert f"{data / name} is an image, not masks, and is not replaced" in error
    group = zarr.open_group(str(data / "old.zarr"), mode="r+")
    group.attrs["image-label"] = {"version": "0.4"}
    save_a_mask(stack, data / "painted.zarr")
    for name in ("old.zarr", "painted.zarr", "painted.zarr"):
        assert run([str(a) for a in arguments("detect", data, data / name, *search)]) == 0
        assert read_detection(data / name)["options"]["kinds"] == ["missing"]


@pytest.mark.parametrize("command", ["repair", "originals"])
def test_masks_are_not_replaced_by_a_stack(data, capsys, no_computing, command):
    save_a_mask(open_stack(data / "stack.zarr"), data / "painted.zarr")
    output = (data / "painted.zarr", "--overwrite")
    error = refused(capsys, data, *arguments(command, data, *output))
    assert f"{data / 'painted.zarr'} is a label image (masks), not a stack" in error


def test_a_stack_that_became_masks_meanwhile_is_not_replaced(data, capsys, monkeypatch):
    """As it is found when the new one is complete."""
    from napari_flowinpaint.core import export

    output, real = data / "out.zarr", export._copy
    write_ngff(output, volume((2, 30, 30)))

    def copy(*arguments):
        real(*arguments)
        group = zarr.open_group(str(output), mode="r+")
        group.attrs["ome"] = {**group.attrs["ome"], "image-label": {}}

    monkeypatch.setattr(export, "_copy", copy)
    capsys.readouterr()
    assert run([str(a) for a in arguments("originals", data, output, "--overwrite")]) == 2
    assert "is a label image (masks), not a stack" in capsys.readouterr().err
    assert open_mask(output).shape == (2, 30, 30)
