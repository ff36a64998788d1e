"""A zarr store in a folder that is held open: as a local store, but no link is followed."""

from __future__ import annotations

import asyncio
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from napari_flowinpaint.core.disk import folder
from napari_flowinpaint.core.disk.folder import HANDLES, Folder
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.io.folder_store import FolderStore, watch

WAYS = [False] + [True] * HANDLES
KINDS: dict[str, dict[str, Any]] = {
    "v2": {"zarr_format": 2, "chunks": (1, 8, 8)},
    "v2 nested": {
        "zarr_format": 2,
        "chunks": (2, 8, 8),
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
    "v3": {"zarr_format": 3, "chunks": (1, 8, 8)},
    "v3 sharded": {"zarr_format": 3, "chunks": (1, 4, 4), "shards": (2, 8, 8)},
}


@pytest.fixture(params=WAYS, ids=lambda handles: "handles" if handles else "paths")
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "store").mkdir()
    with open_root(tmp_path / "store", handles=request.param) as folder:
        yield folder


def files(path: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (3, 19, 17), dtype=np.uint8)


def fill(store: Store, options: dict[str, Any]) -> Any:
    """Do what repairs do: make a group and an array, write all of it, then a part."""
    options = dict(options)
    group = zarr.create_group(store, zarr_format=options.pop("zarr_format"), attributes={"a": 1})
    array = group.create_array("0", shape=(3, 19, 17), dtype="uint8", **options)
    array[...] = pixels()
    array[1, 3:11, 5:12] = 7
    group.attrs.update({"b": [1, 2]})
    group.create_group("labels").attrs["labels"] = ["synthetic"]
    return array


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_those_of_a_local_store(root, tmp_path, kind):
    array = fill(FolderStore(root), KINDS[kind])
    fill(LocalStore(tmp_path / "local"), KINDS[kind])
    assert files(root.path) == files(tmp_path / "local")
    expected = pixels()
    expected[1, 3:11, 5:12] = 7
    assert np.array_equal(array[...], expected)
    again = zarr.open_array(FolderStore(root, read_only=True), path="0", mode="r")
    assert np.array_equal(again[2, 5:18, 3:4], expected[2, 5:18, 3:4])
    group = zarr.open_group(FolderStore(root), mode="r")
    assert dict(group.attrs) == {"a": 1, "b": [1, 2]}
    assert sorted(name for name, _ in group.members(max_depth=2)) == ["0", "labels"]
    with pytest.raises(ValueError, match="read-only"):
        FolderStore(root, read_only=True).delete_sync("zarr.json")


@pytest.mark.parametrize("kind", KINDS)
def test_every_chunk_is_on_disk_before_it_has_its_name(root, kind, monkeypatch):
    store = FolderStore(root, scratch=root.folder("scratch", create=True))
    array = fill(store, KINDS[kind])
    steps: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(
        folder.os, "replace", lambda *a, **k: (steps.append("rename"), replace(*a, **k))
    )
    monkeypatch.setattr(folder.os, "fsync", lambda h: (steps.append("sync"), fsync(h)))
    array[0, :8, :8] = 3
    assert steps in (["sync", "rename", "sync"], ["sync", "rename"])
    del steps[:]
    quick = zarr.open_array(FolderStore(root, durable=False), path="0", mode="r+")
    quick[0, :8, :8] = 4
    assert steps == ["rename"]
    assert not any((root.path / "scratch").iterdir())


def test_a_write_that_fails_leaves_the_old_chunk(root, monkeypatch):
    array = fill(FolderStore(root), KINDS["v3"])
    before = files(root.path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        array[0, :8, :8] = 3
    monkeypatch.undo()
    assert files(root.path) == before


def test_an_ended_store_writes_nothing(root):
    store = FolderStore(root)
    array = fill(store, KINDS["v3"])
    before = files(root.path)
    store.end()
    for write in (lambda: array.__setitem__(0, 9), lambda: store.delete_sync("zarr.json")):
        with pytest.raises(OSError, match="interrupted"):
            write()
    assert files(root.path) == before


@pytest.mark.parametrize("kind", ["v2 nested", "v3", "v3 sharded"])
@pytest.mark.parametrize("where", ["chunk", "folder", "metadata", "array"])
def test_no_link_in_a_store_is_followed(root, tmp_path, kind, where):
    """The pixels of another store are neither read nor written, whatever is a link."""
    other = tmp_path / "other"
    other.mkdir()
    fill(LocalStore(other), KINDS[kind])
    fill(FolderStore(root), KINDS[kind])
    metadata = ".zarray" if "v2" in kind else "zarr.json"
    chunk = "0/0/0/0" if "v2" in kind else "0/c/0/0/0"
    name = {
        "chunk": chunk,
        "folder": chunk[: -len("/0")],
        "metadata": f"0/{metadata}",
        "array": "0",
    }[where]
    target = root.path / name
    target.rename(tmp_path / "aside")
    target.symlink_to(other / name)
    before = files(other)

    def use() -> None:
        array = zarr.open_array(FolderStore(root), path="0", mode="r+")
        assert array[0, 0, 0] >= 0
        array[...] = 9

    with pytest.raises(StoreError, match=f"store/{name} is a link"):
        use()
    with pytest.raises(StoreError, match="is a link"):
        root.sync_tree()
    store = FolderStore(root)
    store.delete_sync("0")
    assert not (root.path / "0").exists()
    assert files(other) == before


def listed(iterator: Any) -> list[str]:
    async def collect() -> list[str]:
        return [key async for key in iterator]

    return sorted(asyncio.run(collect()))


def test_it_lists_and_removes_as_a_local_store_does(root, tmp_path):
    stores = [FolderStore(root), LocalStore(tmp_path / "local")]
    for store in stores:
        fill(store, KINDS["v3"])
    safe, local = stores
    assert listed(safe.list()) == listed(local.list())
    for prefix in ("", "0", "0/c", "0/c/", "labels", "none", "0/zarr.json"):
        assert listed(safe.list_prefix(prefix)) == listed(local.list_prefix(prefix))
        assert listed(safe.list_dir(prefix)) == listed(local.list_dir(prefix))
    for key in ("zarr.json", "0", "0/c/0/0/0", "none", "zarr.json/0"):
        assert asyncio.run(safe.exists(key)) == asyncio.run(local.exists(key))
    assert asyncio.run(safe.getsize("zarr.json")) == asyncio.run(local.getsize("zarr.json"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(safe.getsize("none"))
    for store in stores:
        asyncio.run(store.delete_dir("0/c/1"))
        asyncio.run(store.delete("0/c/0/0/0"))
        asyncio.run(store.delete_dir("none"))
    assert files(root.path) == files(tmp_path / "local")
    asyncio.run(safe.clear())
    assert root.names() == []


def test_parts_of_objects(root):
    store = FolderStore(root)
    root.write("a", bytes(range(10)))
    requests = {
        RangeByteRequest(2, 5): bytes([2, 3, 4]),
        OffsetByteRequest(7): bytes([7, 8, 9]),
        SuffixByteRequest(2): bytes([8, 9]),
        SuffixByteRequest(20): bytes(range(10)),
        None: bytes(range(10)),
    }
    found = asyncio.run(
        store.get_partial_values(default_buffer_prototype(), [("a", r) for r in requests])
    )
    assert [part.to_bytes() for part in found if part] == list(requests.values())
    with pytest.raises(OSError, match="too short"):
        store.get_sync("a", byte_range=RangeByteRequest(5, 11))
    assert store.get_sync("b") is None
    assert store.get_sync("a/b") is None


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_that_was_cut_short_is_noticed(root, zarr_format):
    codec: Any = zarr.codecs.BloscCodec()
    if zarr_format == 2:
        import numcodecs

        codec = numcodecs.Blosc()
    array = zarr.create_array(
        FolderStore(root),
        data=pixels(),
        chunks=(3, 19, 17),
        compressors=codec,
        zarr_format=zarr_format,
    )
    watch(array)
    (chunk,) = [p for p in root.path.rglob("*0*") if p.is_file()]
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(OSError, match="too short"):
        array[...]


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a/../../secret", "", "a//b", "./a"])
def test_keys_that_lead_out_are_refused(root, tmp_path, key):
    (tmp_path / "secret").write_text("x")
    root.folder("a", create=True).close()
    store, value = FolderStore(root), default_buffer_prototype().buffer.from_bytes(b"mine")
    acts = (store.get_sync, lambda key: store.set_sync(key, value), store.delete_sync)
    for act in acts:
        with pytest.raises(StoreError, match="is not a valid file name"):
            act(key)
    assert (tmp_path / "secret").read_text() == "x"
    assert root.names() == ["a"]


def test_it_can_be_sent_to_another_process(root):
    array = fill(FolderStore(root), KINDS["v3 sharded"])
    again = pickle.loads(pickle.dumps(array))
    assert np.array_equal(again[...], array[...])
    assert again.store_path.store == array.store_path.store


@settings(deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    writes=st.lists(st.tuples(*[st.integers(0, 18)] * 4, st.integers(0, 2)), max_size=5),
    handles=st.sampled_from(WAYS),
)
def test_any_writes_leave_the_bytes_of_a_local_store(kind, dtype, writes, handles):
    options = dict(KINDS[kind])
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "safe").mkdir()
        with open_root(Path(name) / "safe", handles=handles) as folder:
            for store in (FolderStore(folder, durable=False), LocalStore(Path(name) / "local")):
                array = zarr.create_array(store, shape=(3, 19, 17), dtype=dtype, **options)
                for number, (y, x, height, width, z) in enumerate(writes):
                    array[z, y : y + height, x : x + width] = number
        assert files(Path(name) / "safe") == files(Path(name) / "local")
