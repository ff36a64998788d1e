"""OME-Zarr 0.6: coordinate systems, read and written back in place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from make_stacks import volume, write_ngff

from napari_flowinpaint import open_stack, repair_section, revert, write_back
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.ngff_06 import as_05
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


def write_06(path: Path, pixels: np.ndarray, kind: str = "sequence", version: str = "0.6") -> Path:
    """Write an image of two levels, whose transformations are a scale or a sequence."""
    write_ngff(path, pixels, levels=2, scale=(40, 4, 4))
    group = zarr.open_group(str(path))
    (old,) = group.attrs["ome"]["multiscales"]
    datasets = []
    for level, dataset in enumerate(old["datasets"]):
        (scale,) = (t for t in dataset["coordinateTransformations"] if t["type"] == "scale")
        if kind == "sequence":
            shift = {"type": "translation", "translation": [0, level * 2.0, level * 2.0]}
            told: dict[str, Any] = {"type": "sequence", "transformations": [scale, shift]}
        else:
            told = dict(scale) if kind == "scale" else {"type": kind}
        told |= {"input": {"path": dataset["path"]}, "output": {"name": "physical"}}
        datasets.append({"path": dataset["path"], "coordinateTransformations": [told]})
    to_atlas = {"type": "rotation", "rotation": [[1, 0, 0], [0, 0, 1], [0, -1, 0]]}
    image = {
        "name": "em",
        "coordinateSystems": [
            {"name": "atlas", "axes": old["axes"]},
            {"name": "physical", "axes": old["axes"]},
        ],
        "datasets": datasets,
        "coordinateTransformations": [
            to_atlas | {"input": {"name": "physical"}, "output": {"name": "atlas"}}
        ],
    }
    group.attrs["ome"] = {"version": version, "multiscales": [image]}
    return path


@pytest.mark.parametrize("kind", ["scale", "sequence"])
@pytest.mark.parametrize("version", ["0.6", "0.6rc0", "0.6.dev4"])
def test_is_read(tmp_path: Path, kind: str, version: str) -> None:
    pixels = volume((3, 40, 60))
    stack = open_stack(write_06(tmp_path / "a.zarr", pixels, kind, version))
    assert (stack.kind, stack.ngff_version, stack.writable) == ("ome-zarr", version, True)
    assert stack.voxel_size == (40, 4, 4)
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2)]
    np.testing.assert_array_equal(stack.read(1), pixels[1])


def test_is_written_back_in_place_and_marked(tmp_path: Path) -> None:
    pixels = synthetic_stack(SampleConfig(shape=(3, 96, 96)))
    path = write_06(tmp_path / "a.zarr", pixels)
    before = dict(zarr.open_group(str(path)).attrs)
    mask = np.zeros((96, 96), bool)
    mask[40:52, 40:52] = True
    stack = open_stack(path)
    repair = repair_section(stack, 1, mask, method="flow")
    write_back(stack, repair)
    again = open_stack(path)
    assert not np.array_equal(again.read(1), pixels[1])
    np.testing.assert_array_equal(again.read(1)[~mask], pixels[1][~mask])
    assert dict(zarr.open_group(str(path)).attrs) == before
    marks = open_stack_of_labels(path)
    assert (marks.ngff_version, marks.voxel_size) == ("0.6", (40, 4, 4))
    np.testing.assert_array_equal(marks.read(1) > 0, mask)
    (image,) = zarr.open_group(str(path / "labels" / "synthetic")).attrs["ome"]["multiscales"]
    for number, dataset in enumerate(image["datasets"]):
        assert dataset["path"] == str(number)
        assert dataset["coordinateTransformations"][0]["input"] == {"path": str(number)}
    assert zarr.open_group(str(path / "labels")).attrs["ome"]["version"] == "0.6"
    revert(again, z=1)
    np.testing.assert_array_equal(open_stack(path).read(1), pixels[1])


def open_stack_of_labels(path: Path) -> Any:
    from napari_flowinpaint.core.open import open_mask

    return open_mask(path / "labels" / "synthetic")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"coordinateSystems": []}, "coordinateSystems: missing"),
        ({"coordinateSystems": [{"name": "other", "axes": []}]}, "none has the name 'physical'"),
        ({"datasets": [{"path": "0"}]}, "none has the name None"),
        ({"datasets": "no"}, "datasets: missing"),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: dict[str, Any], message: str) -> None:
    path = write_06(tmp_path / "a.zarr", volume((3, 20, 30)))
    group = zarr.open_group(str(path))
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0].update(damage)
    group.attrs["ome"] = ome
    with pytest.raises(InputError, match=f"not valid 0.6 .*{message}"):
        open_stack(path)


def test_a_transformation_that_is_none_of_a_level(tmp_path: Path) -> None:
    path = write_06(tmp_path / "a.zarr", volume((3, 20, 30)), "affine")
    with pytest.raises(InputError, match="'affine' is not one of a level"):
        open_stack(path)
    with pytest.raises(ValueError, match="not a list"):
        as_05(None)
