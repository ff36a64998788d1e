"""What is damaged is told in one line, not traced; what is absurd is refused before it is read."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from attacks import damage, entry, truth

from napari_flowinpaint import open_stack
from napari_flowinpaint.core.disk.folder import Folder


class Trap:
    """Executes something when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def huge(members: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> bytes:
    """An array whose header announces a shape that nobody has memory for."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def changed(path: Path, how: str) -> None:
    """Change an archive or a JSON file."""
    old = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        new = {
            "empty": b"",
            "list": b"[]",
            "null": b"null",
            "number": b"5",
            "no keys": b"{}",
            "cut": old[: len(old) // 2],
            "binary": bytes(range(256)),
            "deep": b"[" * 100_000,
            "NaN": old.replace(b": 1", b": NaN"),
            "texts": old.replace(b": 1", b': "1"'),
            "nulls": b": null".join(old.split(b": 1")),
        }[how]
    else:
        with zipfile.ZipFile(io.BytesIO(old)) as file:
            content = {name: file.read(name) for name in file.namelist()}
        first = next(name for name in sorted(content) if name.endswith(".npy"))
        middle = len(old) // 2
        make = {  # only the one that is wanted: a bomb takes seconds to pack
            "empty": lambda: b"",
            "cut": lambda: old[:middle],
            "64 zeros": lambda: old[:middle] + bytes(64) + old[middle + 64 :],
            "zeros at the start": lambda: bytes(64) + old[64:],
            "no archive": lambda: b"\x00" * 500,
            "no members": archive,
            "pickle": lambda: _with(content, first, npy(np.array([Trap()], dtype=object))),
            "bare pickle": lambda: pickle.dumps(Trap()),
            "huge": lambda: _with(content, first, huge(None, first, (10**9, 10**9))),
            "bomb": lambda: _with(content, first, npy(np.zeros(300_000_000, np.uint8))),
            "floats": lambda: _with(content, first, npy(np.full((3, 3), np.nan))),
            "text": lambda: _with(content, first, npy(np.array(["a"]))),
            "compression": lambda: _unknown_compression(old),
        }
        new = make[how]()
    path.write_bytes(new)


def _with(content: dict[str, bytes], name: str, new: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for member, old in content.items():
            file.writestr(member, new if member == name else old)
    return buffer.getvalue()


def _unknown_compression(old: bytes) -> bytes:
    """Set the method of every member to 77."""
    new = bytearray(old)
    for mark, at in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        start = 0
        while (start := new.find(mark, start)) >= 0:
            new[start + at : start + at + 2] = (77).to_bytes(2, "little")
            start += 4
    return bytes(new)


JSON = ("list", "number", "no keys", "deep", "texts")
NPZ = ("64 zeros", "no members", "pickle", "huge", "floats", "compression")


def told_in_one_line(scene, *arguments: object) -> None:
    """Either it works, or one line says what is wrong; :meth:`Scene.run` fails on anything else."""
    told = scene.run(*arguments)
    assert told.code in (0, 1, 2), told
    assert not (Path.cwd() / "executed").exists()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a trap would leave its trace


@pytest.mark.parametrize("how", JSON)
def test_a_damaged_plan(staged, how):
    changed(staged.staging / "plan.json", how)
    told_in_one_line(staged, *staged.to_repair("--staging", staged.staging, "--in-place"))


@pytest.mark.parametrize("how", ["list", "values"])
@pytest.mark.parametrize("name", ["decisions.json", "edits.json"])
def test_damaged_decisions_and_edits(staged, name, how):
    path = staged.staging / name
    path.write_text('{"2": 5, "3": {"decision": [], "method": 1, "options": 2}}')
    if how != "values":
        changed(path, how)
    told_in_one_line(staged, *staged.to_repair("--staging", staged.staging, "--in-place"))


@pytest.mark.parametrize("how", NPZ)
def test_a_damaged_staged_section(staged, how):
    changed(staged.staging / "sections" / "z000002.npz", how)
    told_in_one_line(staged, *staged.to_repair("--staging", staged.staging, "--in-place"))


@pytest.mark.parametrize(
    ("folder", "how"),
    [("masks", "64 zeros"), ("masks", "pickle"), ("edits", "huge"), ("edits", "text")],
)
def test_a_damaged_staged_mask(staged, folder, how):
    path = staged.staging / folder / "z000002.npz"
    path.parent.mkdir(exist_ok=True)
    if folder == "edits":
        path.write_bytes((staged.staging / "masks" / "z000002.npz").read_bytes())
    changed(path, how)
    told_in_one_line(staged, *staged.to_repair("--staging", staged.staging, "--in-place"))


RECORDS = {
    "no repair": lambda r: r.update(repair=None),
    "a list": lambda r: r.update(repair=[]),
    "no patches": lambda r: r["repair"].update(patches=[]),
    "NaN in the box": lambda r: r["repair"]["patches"][0].update(box=[0, 0, float("nan"), 9]),
    "a box outside": lambda r: r["repair"]["patches"][0].update(box=[-5, 0, 10**9, 10**9]),
    "no provenance": lambda r: r["repair"].update(provenance={}),
    "a dtype of objects": lambda r: r["repair"].update(dtype="O"),
    "a shape of texts": lambda r: r["repair"].update(shape=["a", "b"]),
    "escape sequences": lambda r: r.update(status="refused", message="\x1b]0;owned\x07\x1b[31m"),
    "no key": lambda r: r.pop("key"),
}


@pytest.mark.parametrize("how", RECORDS)
def test_an_absurd_staged_record(staged, how):
    path = staged.staging / "sections" / "z000002.npz"
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    record = json.loads(content["record.json"])
    RECORDS[how](record)
    path.write_bytes(_with(content, "record.json", json.dumps(record).encode()))
    told_in_one_line(staged, *staged.to_repair("--staging", staged.staging, "--in-place"))


@pytest.mark.parametrize("how", ["list", "cut", "binary", "deep", "NaN", "texts"])
def test_a_damaged_entry(repaired, how):
    changed(entry(repaired.stack) / "entry.json", how)
    told_in_one_line(repaired, "history", repaired.stack)
    told_in_one_line(repaired, "revert", repaired.stack)


@pytest.mark.parametrize("how", NPZ)
def test_damaged_originals(repaired, unchanged, how):
    changed(entry(repaired.stack) / "pixels.npz", how)
    check = unchanged(repaired.stack / "0" / "c")
    repaired.refused("revert", repaired.stack)
    check()


@pytest.mark.parametrize("where", ["journal", "staging"])
def test_a_bomb_is_not_unpacked(staged, repaired_once, where):
    """300 MB of zeros in 300 kB: the size is looked at before."""
    import tracemalloc

    scene = staged
    arguments = scene.to_repair("--staging", scene.staging, "--in-place")
    path = scene.staging / "sections" / "z000002.npz"
    if where == "journal":
        shutil.rmtree(scene.stack)
        shutil.copytree(repaired_once / "stack.zarr", scene.stack)
        path, arguments = entry(scene.stack) / "pixels.npz", ["revert", scene.stack]
    changed(path, "bomb")
    tracemalloc.start()
    try:
        told_in_one_line(scene, *arguments)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


# ---- stacks


def refused_stack(scene, path: object) -> str:
    message = scene.refused("history", path)
    assert message == scene.refused(*scene.to_repair("--plan", stack=path))
    return message


def test_hdf5_that_leads_in_circles(scene):
    path = scene.path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
    refused_stack(scene, f"{path}:/a")
    refused_stack(scene, f"{path}:/a/b/c")


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual"])
def test_hdf5_that_shows_another_file(scene, kind):
    """Bytes of another file of the user's do not come out in --output."""
    path, secret = scene.path / "a.h5", scene.path / "secret.bin"
    secret.write_bytes(truth().tobytes())
    with h5py.File(scene.path / "other.h5", "w") as file:
        file["raw"] = truth()
    with h5py.File(path, "w") as file:
        if kind == "external link":
            file["raw"] = h5py.ExternalLink(str(scene.path / "other.h5"), "/raw")
        elif kind == "external storage":
            external = [(str(secret), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("raw", truth().shape, "uint8", external=external)
        else:
            layout = h5py.VirtualLayout(truth().shape, "uint8")
            layout[:] = h5py.VirtualSource(str(scene.path / "other.h5"), "raw", truth().shape)
            file.create_virtual_dataset("raw", layout)
    message = refused_stack(scene, f"{path}:/raw")
    assert "another file" in message or "external" in message


@pytest.mark.parametrize("shape", [(10**6, 10**6, 10**6), (3, 2**31, 2**31)], ids=["z", "yx"])
def test_arrays_that_nobody_has(scene, shape):
    path = scene.path / "huge.zarr"
    zarr.create_array(str(path), shape=shape, chunks=(1, 64, 64), dtype="uint8")
    told_in_one_line(scene, "history", path)
    told_in_one_line(scene, *scene.to_repair("--plan", stack=path))
    told_in_one_line(scene, "detect", path, "--output", scene.path / "m.zarr", "--sections", "1")


def test_a_chunk_that_nobody_has(scene):
    path = scene.path / "huge.zarr"
    zarr.create_array(str(path), shape=(3, 10**7, 10**7), chunks=(3, 10**7, 10**7), dtype="uint8")
    told_in_one_line(scene, "detect", path, "--output", scene.path / "m.zarr", "--sections", "1")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
XML = {
    "malformed": "<OME><Image><Pixels SizeX=",
    "bomb": f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}]><OME>&l9;</OME>',
    "outside": '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><OME>&x;</OME>',
    "empty": "<OME/>",
    "texts": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="a" SizeY="-5" SizeZ="1e99" '
    'SizeC="1" SizeT="1"><TiffData/></Pixels></Image></OME>',
}


@pytest.mark.parametrize("kind", XML)
def test_odd_ome_xml(scene, kind):
    path = scene.path / "odd.ome.tif"
    tifffile.imwrite(path, truth(), photometric="minisblack", description=XML[kind], metadata=None)
    started = time.monotonic()
    told_in_one_line(scene, "history", path)
    told_in_one_line(scene, *scene.to_repair("--plan", stack=path))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_tiff(scene, compression):
    """It is not planned with fewer sections: there were more."""
    path = scene.path / "cut.tif"
    tifffile.imwrite(path, truth(), photometric="minisblack", compression=compression)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last = file.pages[4].offset  # its tags are written behind those before it
        ends = max(page.dataoffsets[0] for page in file.pages)
    path.write_bytes(content[: max(last, ends) + 20])
    message = refused_stack(scene, path)
    assert "cut.tif" in message


def test_a_tiff_that_leads_in_circles(scene):
    path = scene.path / "circle.tif"
    tifffile.imwrite(path, truth(), photometric="minisblack", compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        first, third = file.pages[0].offset, file.pages[2].offset
    count = int.from_bytes(content[third : third + 2], "little")
    at = third + 2 + 12 * count
    content[at : at + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    told_in_one_line(scene, "history", path)


@pytest.mark.parametrize("name", [b"caf\xe9.zarr", b"new\nline.zarr", b"\x1b[31m.zarr", b"a" * 300])
def test_odd_names(scene, name):
    path = scene.path / os.fsdecode(name)
    told_in_one_line(scene, "history", path)
    told_in_one_line(scene, *scene.to_repair("--output", path, "--sections", "2"))


def test_escape_sequences_from_metadata(scene):
    odd = "\x1b]0;owned\x07\x1b[2J"
    for content in (
        {"ome": {"version": "0.5", "multiscales": [{"axes": odd, "datasets": odd}]}},
        {"ome": {"version": odd, "multiscales": [{"axes": [], "datasets": []}]}},
    ):
        zarr.open_group(str(scene.stack), mode="r+").attrs.put(content)
        scene.refused("history", scene.stack)


def test_escape_sequences_from_the_journal(repaired):
    path = entry(repaired.stack) / "entry.json"
    record = json.loads(path.read_text())
    record["provenance"]["method"] = "flow\x1b]0;owned\x07"
    record["time"] = "\x1b[2J2026-01-01T00:00:00"
    path.write_text(json.dumps(record))
    told_in_one_line(repaired, "history", repaired.stack)


@pytest.mark.parametrize("address", ["ftp", "sftp", "github", "reference", "memory"])
def test_addresses_that_are_not_opened(scene, address):
    called = []

    def hang_up(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                called.append(server.accept()[0].close())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, args=[server], daemon=True).start()
        where = f"{address}://127.0.0.1:{server.getsockname()[1]}/a.zarr"
        message = scene.refused("history", where)
    assert not called
    assert "http" in message
    assert "s3" in message


def test_a_scheduler_that_is_dead(scene, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_flowinpaint.core.batch.batch_workers._TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    message = scene.refused(
        *scene.to_repair("--in-place", "--scheduler", f"tcp://127.0.0.1:{port}")
    )
    assert "scheduler" in message
    assert time.monotonic() - started < 15


def test_large_sections_as_png(scene):
    """14,000 x 14,000 pixels are an honest section."""
    from PIL import Image

    folder = scene.path / "pngs"
    folder.mkdir()
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("L", (14_000, 14_000), 7).save(folder / "z0.png", compress_level=1)
    for number in (1, 2):
        os.link(folder / "z0.png", folder / f"z{number}.png")
    stack = open_stack(folder)
    assert stack.shape == (3, 14_000, 14_000)
    assert (stack.read(1)[:2, :2] == 7).all()
    assert limit == Image.MAX_IMAGE_PIXELS, "a setting that belongs to the whole process"


def test_a_png_that_nobody_has_memory_for(scene):
    """Its header announces 4 * 10^18 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    folder = scene.path / "pngs"
    folder.mkdir()
    for number in range(3):
        content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (folder / f"z{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    told_in_one_line(scene, "history", folder)
    told_in_one_line(scene, "detect", folder, "--output", scene.path / "m.zarr", "--sections", "1")


def test_a_revert_beside_a_copy_under_way(repaired):
    """An entry that changes its state meanwhile is not called damaged: its originals are needed."""
    original = Folder.read
    found = entry(repaired.stack)
    moved = found.with_name(found.name.replace("committed", "reverted"))

    def renamed_meanwhile(folder: Folder, name: str, limit: int | None = None) -> bytes:
        if folder.path == found and found.exists():
            found.rename(moved)
            (moved / "pixels.npz").unlink()
        return original(folder, name, limit)

    output = repaired.path / "out.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "read", renamed_meanwhile)
        told = repaired.repair("--output", output, "--sections", "3")
    assert moved.exists()
    assert "damaged" not in told.err
    assert "move it away" not in told.err
    assert damage().any()
