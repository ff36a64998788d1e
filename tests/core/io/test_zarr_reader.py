"""OME-Zarr and bare zarr arrays: axes, levels, voxel size, and only what is touched is read."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.codecs
from make_stacks import DTYPES, assert_same, volume, write_ngff

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str, dtype: str) -> None:
    pixels = volume((3, 45, 71), dtype)
    path = write_ngff(
        tmp_path / "a.ome.zarr", pixels, version=version, scale=(40, 4, 4.5), levels=3
    )
    stack = open_stack(path)
    assert_same(stack, pixels)
    assert (stack.kind, stack.name, stack.ngff_version) == ("ome-zarr", "a", version)
    assert stack.zarr_format == (2 if version == "0.4" else 3)
    assert stack.voxel_size == (40.0, 4.0, 4.5)
    assert stack.writable
    assert stack.group_path == path
    assert [level.shape for level in stack.levels] == [(3, 45, 71), (3, 22, 35), (3, 11, 17)]
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert [level.path for level in stack.levels] == ["0", "1", "2"]


def test_sharded(tmp_path: Path) -> None:
    pixels = volume((6, 64, 64), "uint16")
    path = write_ngff(tmp_path / "a.zarr", pixels, chunks=(1, 16, 16), shards=(4, 32, 32))
    assert_same(open_stack(path), pixels)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 17, 3)])
def test_tiny_shapes(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    pixels = volume(shape)
    assert_same(open_stack(write_ngff(tmp_path / "a.zarr", pixels)), pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tzyx"])
def test_chosen_channel_and_time(tmp_path: Path, axes: str, version: str) -> None:
    shape = tuple({"t": 2, "c": 3, "z": 4, "y": 20, "x": 33}[a] for a in axes)
    pixels = volume(shape, "uint16")
    path = write_ngff(
        tmp_path / "a.zarr",
        pixels,
        version=version,
        axes=axes,
        scale=(9,) * (len(axes) - 3) + (5, 2, 3),
    )
    choice = {"time": 1} if "t" in axes else {}
    choice |= {"channel": 2} if "c" in axes else {}
    stack = open_stack(path, **choice)
    assert_same(stack, pixels[tuple({"t": 1, "c": 2}[a] for a in axes[:-3])])
    assert stack.voxel_size == (5.0, 2.0, 3.0)
    for left_out in choice:
        rest = {k: v for k, v in choice.items() if k != left_out}
        with pytest.raises(ChoiceNeeded, match=f"for example with --{left_out} 0") as error:
            open_stack(path, **rest)
        assert error.value.option == left_out
    with pytest.raises(InputError, match="choose 0 to"):
        open_stack(path, **dict.fromkeys(choice, 7))


def test_singleton_axes_need_no_choice(tmp_path: Path) -> None:
    pixels = volume((1, 1, 3, 20, 30))
    stack = open_stack(write_ngff(tmp_path / "a.zarr", pixels, axes="tczyx", levels=2))
    assert_same(stack, pixels[0, 0])
    with pytest.raises(InputError, match="no channel 1"):
        open_stack(tmp_path / "a.zarr", channel=1)


def test_a_choice_where_there_is_none(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    with pytest.raises(InputError, match="no channel axis"):
        open_stack(path, channel=1)
    assert open_stack(path, channel=0).shape == (3, 20, 30)


@pytest.mark.parametrize("axes", ["xyz", "yxz", "cyzx"])
def test_spatial_axes_in_another_order(tmp_path: Path, axes: str) -> None:
    pixels = volume((2, 3, 12, 17))[: axes.count("c") + 1]  # c z y x
    stored = np.transpose(pixels[-1], ["zyx".index(a) for a in axes if a != "c"])
    stored = np.stack([~stored, stored]) if "c" in axes else stored
    sizes = {"c": 1.0, "z": 40.0, "y": 4.0, "x": 5.0}
    path = write_ngff(tmp_path / "a.zarr", stored, axes=axes, scale=tuple(sizes[a] for a in axes))
    stack = open_stack(path, channel=1 if "c" in axes else None)
    assert_same(stack, pixels[-1])
    assert stack.voxel_size == (40.0, 4.0, 5.0)
    new = volume((5, 6), seed=1)
    stack.levels[0].write(1, new, Box(2, 3, 7, 9))
    expected = pixels[-1].copy()
    expected[1, 2:7, 3:9] = new
    assert_same(open_stack(path, channel=1 if "c" in axes else None), expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bare_arrays(tmp_path: Path, zarr_format: Any) -> None:
    pixels = volume((3, 30, 40), ">u2" if zarr_format == 2 else "uint16")
    zarr.save_array(str(tmp_path / "root.zarr"), pixels, zarr_format=zarr_format)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="w", zarr_format=zarr_format)
    array = group.create_array("volumes/raw", shape=pixels.shape, dtype=pixels.dtype)
    array[...] = pixels
    array.attrs["resolution"] = [40, 4, 4]
    native = pixels.astype("uint16")
    root = open_stack(tmp_path / "root.zarr")
    assert_same(root, native)
    assert (root.kind, root.zarr_format, root.writable) == ("zarr", zarr_format, True)
    assert root.voxel_size is None
    for stack in (
        open_stack(tmp_path / "group.zarr" / "volumes" / "raw"),
        open_stack(tmp_path / "group.zarr", dataset="volumes/raw"),
        open_stack(tmp_path / "group.zarr"),  # the only one
    ):
        assert_same(stack, native)
        assert stack.voxel_size == (40.0, 4.0, 4.0)
    root.levels[0].write(1, native[0])
    np.testing.assert_array_equal(open_stack(tmp_path / "root.zarr").read(1), native[0])


def test_named_axes_of_a_bare_array(tmp_path: Path) -> None:
    pixels = volume((20, 30, 4))
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="uint8", dimension_names=("y", "x", "z")
    )
    array[...] = pixels
    assert_same(open_stack(tmp_path / "a.zarr"), pixels.transpose(2, 0, 1))


def test_several_arrays_must_be_chosen_from(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for name in ("raw", "clahe"):
        group.create_array(name, shape=(3, 20, 30), dtype="uint8")
    with pytest.raises(ChoiceNeeded, match=r"clahe, raw") as error:
        open_stack(tmp_path / "a.zarr")
    assert error.value.choices == ("clahe", "raw")
    assert open_stack(tmp_path / "a.zarr", dataset="raw").shape == (3, 20, 30)


def test_the_full_level_of_a_pyramid_is_the_pyramid(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 64, 64)), levels=2)
    assert len(open_stack(path / "0").levels) == 2
    reduced = open_stack(path / "1")
    assert reduced.shape == (3, 32, 32)
    assert not reduced.writable  # the other levels would no longer agree
    assert str(path) in reduced.why_not_writable


def test_urls(tmp_path: Path) -> None:
    pixels = volume((3, 40, 40))
    path = write_ngff(tmp_path / "a.zarr", pixels, levels=2)
    local = open_stack(f"file://{path}")
    assert_same(local, pixels)
    assert (local.path, local.writable) == (path, True)
    pytest.importorskip("aiohttp")  # what fsspec needs for http
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        remote = open_stack(f"{address}/a.zarr")
        assert_same(remote, pixels)
        assert (remote.name, remote.kind, len(remote.levels)) == ("a", "ome-zarr", 2)
        assert not remote.writable
        assert "remote" in remote.why_not_writable
        with pytest.raises(InputError, match="cannot be opened as zarr"):
            open_stack(f"{address}/b.zarr")
        server.shutdown()


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        ((0.04, 0.004, 0.004), "micrometer", (40.0, 4.0, 4.0)),
        ((0.04, 0.004, 0.004), "µm", (40.0, 4.0, 4.0)),
        ((40, 4, 4), "nanometer", (40.0, 4.0, 4.0)),
        ((400, 40, 40), "angstrom", (40.0, 4.0, 4.0)),
        ((4e-5, 4e-6, 4e-6), "millimeter", (40.0, 4.0, 4.0)),
        ((40, 4, 4), None, None),
        ((40, 4, 4), "parsec", None),
        ((1, 1, 1), None, None),
    ],
)
def test_ngff_units(tmp_path: Path, scale: Any, unit: str | None, expected: Any) -> None:
    stack = open_stack(write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=scale, unit=unit))
    assert stack.voxel_size == expected
    told = any("voxel size is unknown" in message for message in stack.messages)
    assert told == (expected is None and scale != (1, 1, 1))


def test_scale_of_the_whole_pyramid_counts_too(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=(10, 1, 1))
    group = zarr.open_group(str(path))
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [4, 4, 4]}]
    group.attrs["ome"] = ome
    assert open_stack(path).voxel_size == (40.0, 4.0, 4.0)


def test_given_voxel_size_wins(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=(40, 4, 4), unit=None)
    stack = open_stack(path, voxel_size=(50, 5, 5))
    assert stack.voxel_size == (50.0, 5.0, 5.0)
    assert stack.messages == ()
    for bad in [(50, 5), (50, 5, 0), (1, 1, float("nan")), "abc"]:
        with pytest.raises(InputError, match="give z, y, x in nm"):
            open_stack(path, voxel_size=bad)  # type: ignore[arg-type]


def chunk_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which keys of local stores are read."""
    from napari_flowinpaint.core.io.folder_store import FolderStore

    keys: list[str] = []
    real = FolderStore.get_sync

    def get(self: Any, key: str, **kwargs: Any) -> Any:
        if not key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            keys.append(key)
        return real(self, key, **kwargs)

    monkeypatch.setattr(FolderStore, "get_sync", get)
    return keys


@pytest.mark.parametrize("edge", [256, 1024])
def test_only_touched_chunks_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: int
) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, edge, edge)), chunks=(1, 64, 64), levels=2)
    keys = chunk_reads(monkeypatch)
    stack = open_stack(path)
    assert keys == []  # opening reads no pixel
    stack.read(1, Box(60, 70, 80, 120))
    # Rows 60 to 79 lie in two rows of chunks, columns 70 to 119 in one column.
    assert sorted(keys) == ["c/1/0/1", "c/1/1/1"]


def test_a_missing_chunk_is_background(tmp_path: Path) -> None:
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(2, 8, 8), chunks=(1, 8, 8), dtype="uint8", fill_value=7
    )
    array[1] = 3
    assert np.all(open_stack(tmp_path / "a.zarr").read(0) == 7)


def test_a_label_image_is_not_a_second_stack(tmp_path: Path) -> None:
    pixels = volume((3, 8, 8))
    write_ngff(tmp_path / "outer.zarr" / "em", pixels)
    zarr.open_group(str(tmp_path / "outer.zarr"), mode="a", zarr_format=3)
    marks = write_ngff(tmp_path / "outer.zarr" / "em" / "labels" / "synthetic", pixels, levels=2)
    zarr.open_group(str(marks.parent), mode="a", zarr_format=3)
    group = zarr.open_group(str(marks), mode="a")
    group.attrs["ome"] = {**dict(group.attrs["ome"]), "image-label": {}}  # type: ignore[arg-type]
    assert open_stack(tmp_path / "outer.zarr").group_path == tmp_path / "outer.zarr" / "em"
    assert open_stack(marks.parent).group_path == marks, "nothing else is there"


@pytest.mark.parametrize("prefix", ["s", "a/s", "a/b/c/s"])
def test_the_full_level_is_the_pyramid_however_deep_it_lies(tmp_path: Path, prefix: str) -> None:
    store = write_ngff(tmp_path / "a.zarr", volume((3, 8, 8)), levels=2)
    text = (store / "zarr.json").read_text()
    (store / prefix).parent.mkdir(parents=True, exist_ok=True)
    for number in "01":
        (store / number).rename(store / f"{prefix}{number}")
        text = text.replace(f'"path": "{number}"', f'"path": "{prefix}{number}"')
    (store / "zarr.json").write_text(text)
    assert len(open_stack(store / f"{prefix}0").levels) == 2
    reduced = open_stack(store / f"{prefix}1")
    assert len(reduced.levels) == 1
    assert "reduced level" in reduced.why_not_writable


def test_only_the_first_image_of_a_group_is_written(tmp_path: Path) -> None:
    store = write_ngff(tmp_path / "two.zarr", volume((3, 8, 8)), levels=2)
    group = zarr.open_group(str(store), mode="a")
    ome: Any = dict(group.attrs["ome"])  # type: ignore[arg-type]
    first = ome["multiscales"][0]

    def images(*paths: list[str]) -> None:
        others = [
            {
                **first,
                "datasets": [dict(d, path=p) for d, p in zip(first["datasets"], q, strict=True)],
            }
            for q in paths
        ]
        group.attrs["ome"] = {**ome, "multiscales": [first, *others]}

    for number in "01":
        array = group[number]
        group.create_array(f"b{number}", data=np.asarray(array[...]))  # type: ignore[index]
    images(["b0", "b1"])
    assert open_stack(store).writable
    assert "image 2" in open_stack(store / "b0").why_not_writable
    images(["0", "1"])
    assert open_stack(store).writable, "the same levels twice are updated together"
    images(["0", "b1"])
    assert "would not be updated" in open_stack(store).why_not_writable
