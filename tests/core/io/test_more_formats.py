"""MRC, N5, precomputed, archives, images of several formats; and what is not read is named."""

import gzip
import itertools
import re
import shlex
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import zarr
from make_formats import imod, set_bytes, write_mrc, write_n5, write_precomputed
from make_stacks import volume, write_ngff
from PIL import Image

from napari_flowinpaint.core.errors import ChoiceNeeded, FlowInpaintError, InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_mask, open_stack

SHAPE = (5, 50, 60)


def assert_same(stack: Stack, pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(stack.array), pixels)
    part = np.s_[1, 7:33, 5:40:2]
    np.testing.assert_array_equal(stack.array[part], pixels[part])
    assert "--output" in stack.why_not_writable


# --- MRC ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_mrc(tmp_path: Path, dtype: str, order: str) -> None:
    pixels = volume(SHAPE, dtype)
    stack = open_stack(
        write_mrc(tmp_path / "a.rec", pixels.astype(np.dtype(dtype).newbyteorder(order)))
    )
    assert stack.dtype == np.dtype("float32" if dtype == "float16" else dtype)
    assert (stack.kind, stack.voxel_size) == ("mrc", (40, 4, 4))
    assert_same(stack, pixels)


@pytest.mark.parametrize(
    ("stamp", "largest", "expected"),
    [
        (imod(1), 255, "int8"),
        (imod(0), 0, "uint8"),
        (bytes(8), 255, "uint8"),
        (bytes(8), 100, "int8"),
    ],
)
def test_bytes_of_mrc_are_signed_where_the_file_says_so(
    tmp_path: Path, stamp: bytes, largest: float, expected: str
) -> None:
    pixels = volume(SHAPE)
    path = write_mrc(tmp_path / "a.st", pixels.view("int8"), nversion=0, dmin=0, dmax=largest)
    set_bytes(path, 152, stamp)
    stack = open_stack(path)
    assert_same(stack, pixels.view(expected))
    assert bool(stack.messages) == (stamp == bytes(8))  # a guess is told


def test_an_mrc_file_of_volumes_is_chosen_from(tmp_path: Path) -> None:
    pixels = volume((6, 20, 30), "int16")
    path = write_mrc(tmp_path / "a.mrcs", pixels, ispg=401, mz=3)
    with pytest.raises(ChoiceNeeded, match="times, 0 to 1: choose one, for example with --time 0"):
        open_stack(path)
    np.testing.assert_array_equal(np.asarray(open_stack(path, time=1).array), pixels[3:])


def test_mrc_with_an_unset_voxel_size(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.map", volume(SHAPE, "int16"))
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = 1.0
    assert open_stack(path).voxel_size is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((12, (3).to_bytes(4, "little")), "complex pixels"),
        ((8, (6).to_bytes(4, "little")), "cut short"),
        ((8, (1).to_bytes(4, "little")), "single image"),
        ((0, (-1).to_bytes(4, "little", signed=True)), "damaged"),
        ((92, (10**9).to_bytes(4, "little")), "damaged|cut short"),
    ],
)
def test_mrc_that_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = write_mrc(tmp_path / "a.mrc", volume(SHAPE, "int16"))
    set_bytes(path, *change)
    with pytest.raises(InputError, match=message):
        open_stack(path)


# --- folders --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".mrc"])
def test_a_folder_of_images(tmp_path: Path, suffix: str) -> None:
    pixels = np.repeat(np.arange(3 * 20, dtype="uint8").reshape(3, 20, 1), 30, axis=2)
    pixels = np.ascontiguousarray(pixels)
    for z, section in enumerate(pixels):
        if suffix == ".mrc":
            write_mrc(tmp_path / f"{z}.mrc", section.view("int8"))
        else:
            Image.fromarray(section).save(tmp_path / f"{z}{suffix}", quality=100)
    stack = open_stack(tmp_path)
    assert (stack.shape, stack.kind) == ((3, 20, 30), "images")
    assert np.abs(np.asarray(stack.array).astype(int) - pixels).max() <= (
        2 if suffix == ".jpg" else 0
    )
    Image.fromarray(pixels[0]).save(tmp_path / "3.png")
    with pytest.raises(InputError, match=" and "):
        open_stack(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("a.dm4", "DM4"), ("a.txt", "text"), (None, "store")]
)
def test_a_folder_without_images_is_named_for_what_is_in_it(
    tmp_path: Path, name: str | None, message: str
) -> None:
    if name:
        (tmp_path / name).write_bytes(b"\0\0\0\x04 what a camera wrote")
    with pytest.raises(InputError, match=message):
        open_stack(tmp_path)


# --- N5 and precomputed ---------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["raw", "gzip", "xz", "zstd"])
def test_n5(tmp_path: Path, compression: str) -> None:
    pixels = volume(SHAPE, "uint16")
    resolution = {"pixelResolution": {"dimensions": [4.0, 4.0, 40.0], "unit": "nm"}}
    write_n5(tmp_path / "a.n5" / "raw", pixels, compression, **resolution)
    for stack in (open_stack(tmp_path / "a.n5"), open_stack(tmp_path / "a.n5" / "raw")):
        assert (stack.kind, stack.voxel_size) == ("n5", (40, 4, 4))
        assert_same(stack, pixels)


def test_a_pyramid_of_n5(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    group = tmp_path / "a.n5" / "setup0" / "timepoint0"
    write_n5(group / "s0", pixels, resolution=[4, 4, 40])
    write_n5(group / "s1", pixels[:, ::2, ::2], downsamplingFactors=[2, 2, 1])
    stack = open_stack(tmp_path / "a.n5")
    assert_same(stack, pixels)
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2)]
    write_n5(tmp_path / "a.n5" / "labels of it", pixels.astype("uint64"))
    with pytest.raises(ChoiceNeeded) as error:
        open_stack(tmp_path / "a.n5")
    (proposed,) = shlex.split(re.search("path of one: (.*)$", str(error.value))[1])
    assert open_mask(proposed).shape == SHAPE
    for choice in error.value.choices:
        assert open_mask(tmp_path / "a.n5", dataset=choice).shape == SHAPE
    with pytest.raises(InputError, match="no dataset"):
        open_stack(tmp_path / "a.n5", dataset="raw")


@pytest.mark.parametrize("sharded", [False, True])
def test_precomputed(tmp_path: Path, sharded: bool) -> None:
    pixels = volume(SHAPE)
    stack = open_stack(write_precomputed(tmp_path / "a", pixels, sharded))
    assert (stack.kind, stack.voxel_size) == ("precomputed", (40, 4, 4))
    assert_same(stack, pixels)
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2)]
    np.testing.assert_array_equal(np.asarray(stack.levels[1].array), pixels[:, ::2, ::2])


def test_packed_chunks_of_precomputed_are_not_taken_for_black(tmp_path: Path) -> None:
    path = write_precomputed(tmp_path / "a", volume(SHAPE))
    for chunk in (path / "4_4_40").iterdir():
        chunk.rename(chunk.with_name(f"{chunk.name}.gz"))
    with pytest.raises(InputError, match="gunzip -r"):
        open_stack(path)


@pytest.mark.parametrize("kind", ["n5", "precomputed", "sharded"])
def test_no_link_within_is_followed(tmp_path: Path, kind: str) -> None:
    """A chunk elsewhere, and an array elsewhere."""
    pixels = volume(SHAPE)
    if kind == "n5":
        write_n5(tmp_path / "a.n5" / "raw", pixels)
        folder, chunk = tmp_path / "a.n5" / "raw", tmp_path / "a.n5" / "raw" / "0" / "0" / "0"
    else:
        write_precomputed(tmp_path / "a", pixels, kind == "sharded")
        folder = tmp_path / "a" / "4_4_40"
        chunk = next(iter(sorted(folder.iterdir())))
    shutil.move(chunk, tmp_path / "secret")
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match="link"):
        np.asarray(open_stack(tmp_path / ("a.n5" if kind == "n5" else "a")).array)
    chunk.unlink()
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FlowInpaintError):
        open_stack(tmp_path / ("a.n5" if kind == "n5" else "a"))


def test_the_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_n5(tmp_path / "a.n5" / "raw", volume(SHAPE))
    monkeypatch.setitem(__import__("sys").modules, "tensorstore", None)
    with pytest.raises(InputError, match=r'pip install "napari-flowinpaint\[formats\]"'):
        open_stack(tmp_path / "a.n5")
    for address, package in (("s3://bucket/a.zarr", "s3fs"), ("gs://bucket/a.zarr", "gcsfs")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(InputError, match=f"pip install {package}"):
            open_stack(address)


# --- archives -------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [True, False])
def test_a_store_in_an_archive(tmp_path: Path, within: bool) -> None:
    pixels = volume(SHAPE)
    store = write_ngff(tmp_path / "a.zarr", pixels, levels=2, scale=(40, 4, 4))
    root, base = (store, None) if within else (tmp_path, "a.zarr")
    shutil.make_archive(str(tmp_path / "b.zarr"), "zip", root, base)
    for path in (tmp_path / "b.zarr.zip", tmp_path / "b.zarr.zip" / "0"):
        stack = open_stack(path)
        assert stack.shape == SHAPE
        assert_same(stack, pixels)
        assert "ZIP archive" in stack.why_not_writable
    assert open_stack(tmp_path / "b.zarr.zip").voxel_size == (40, 4, 4)


def test_a_stack_of_several_in_an_archive(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for name in ("one of it", "two"):
        group.create_array(name, data=volume(SHAPE))
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a.zarr")
    with pytest.raises(ChoiceNeeded) as error:
        open_stack(tmp_path / "a.zip")
    (proposed,) = shlex.split(re.search(r"for example (.*) \(there are", str(error.value))[1])
    assert open_stack(proposed).shape == SHAPE
    assert open_stack(tmp_path / "a.zip", dataset="two").shape == SHAPE


def test_a_chunk_in_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    codec = zarr.codecs.GzipCodec(level=9)
    zarr.create_array(str(tmp_path / "a.zarr"), data=volume(SHAPE), chunks=SHAPE, compressors=codec)
    chunk = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(gzip.compress(bytes(300 << 20), 1))
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="much more than the pixels"):
        open_stack(tmp_path / "a.zip").read(0)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(InputError, match="without a zarr store"):
        open_stack(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", b" " * (40 << 20))
    with pytest.raises(FlowInpaintError, match="bytes of metadata"):
        open_stack(tmp_path / "b.zip")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "c.zip").write_bytes(content[:-10])
    with pytest.raises(InputError, match="cannot be read"):
        open_stack(tmp_path / "c.zip")


# --- what is not read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dm4", b"\0\0\0\x04", "a DigitalMicrograph DM4 file.* Fiji"),
        ("cells", b"\0\0\0\x03", "a DigitalMicrograph DM3 file"),
        ("a.czi", b"ZISRAWFILE", "a Zeiss CZI file"),
        ("a.tif", b"ZISRAWFILE", "a Zeiss CZI file"),
        ("a.lif", b"\x70\0\0\0", "a Leica LIF file"),
        ("a.nd2", b"\xda\xce\xbe\x0a", "a Nikon ND2 file"),
        ("a.ser", b"II\x97\x01", "a TIA SER file"),
        ("a.raw", b"anything", "a raw file, which gives neither shape nor type"),
        ("a.nrrd", b"NRRD0004", "an NRRD file"),
        ("a.nii", b"\x5c\x01\0\0", "a NIfTI file"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a single PNG image.* folder"),
        ("a.avi", b"RIFF\0\0\0\0AVI ", "a video"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", "a video"),
        ("a.npy", b"\x93NUMPY", "a NumPy array"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "before version 7.3"),
        ("a.mrc.gz", b"\x1f\x8b\x08", "compressed with gzip"),
        ("a.mrc", b"nothing of the kind", "is not an MRC file"),
        ("strange", b"\x1b[31m?", "has an unknown format"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        open_stack(tmp_path / name)
    assert str(error.value).isprintable()


def damaged(path: Path, seed: int) -> None:
    """Change some bytes at the beginning of a file, or cut it short."""
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for at in rng.integers(0, min(len(content), 1024), 8):
        content[at] = rng.integers(0, 256)
    path.write_bytes(
        content[: rng.integers(len(content) // 2, len(content))] if seed % 3 == 0 else content
    )


@pytest.mark.parametrize("kind", ["mrc", "n5", "precomputed", "zip", "tif", "imaris"])
def test_damage_is_told_not_traced(tmp_path: Path, kind: str) -> None:
    from test_hdf5_layouts import write_imaris
    from test_tiff_series import write_pages

    pixels = volume((3, 20, 30))
    write_ngff(tmp_path / "store.zarr", pixels)
    writers = {
        "mrc": lambda path: write_mrc(path, pixels.view("int8")),
        "n5": lambda path: write_n5(path, pixels),
        "precomputed": lambda path: write_precomputed(path, pixels),
        "zip": lambda path: shutil.make_archive(str(path)[:-4], "zip", tmp_path / "store.zarr"),
        "tif": lambda path: write_pages(path, {}, {"compression": "zlib"}, pixels=pixels),
        "imaris": lambda path: write_imaris(path, volume((9, 51, 60))),
    }
    writers[kind](tmp_path / f"good.{kind}")
    for seed in range(25):
        path = tmp_path / f"{seed}.{kind}"
        (shutil.copytree if (tmp_path / f"good.{kind}").is_dir() else shutil.copy)(
            tmp_path / f"good.{kind}", path
        )
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        damaged(files[seed % len(files)], seed)
        with suppress(FlowInpaintError):
            stack = open_stack(path)
            for z in itertools.islice(range(stack.shape[0]), 3):
                stack.read(z)
