"""Archives of arrays and JSON, read as if a stranger had made them."""

from __future__ import annotations

import io
import re
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_flowinpaint
from napari_flowinpaint.core.io.npz import Npz, map_npy, parse_json, read_npy_header


def archive(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def members(**content: bytes) -> Npz:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, told in content.items():
            file.writestr(f"{name}.npy", told)
    return Npz(io.BytesIO(out.getvalue()))


def header(shape: str, descr: str = "'|u1'") -> bytes:
    told = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told.encode()


ARRAYS = {
    "plain": np.arange(12, dtype="int32").reshape(3, 4),
    "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "empty": np.zeros((0, 3), np.uint8),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back(name):
    array = ARRAYS[name]
    found = Npz(io.BytesIO(archive(**ARRAYS))).array(name, (None, array.shape[1]), array.dtype)
    assert np.array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header("(1000000000, 1000000000)"), "does not have the size"),
        (header("(-1,)"), "of shape"),
        (header("'a'"), "shape"),
        (header("(3, 3)", "'|O'"), "object"),
        (header("(3, 3)") + bytes(8), "cut short"),
        (header("(3, 3)") + bytes(10), "longer"),
        (b"no array", "magic"),
        (b"", "."),
    ],
)
def test_what_is_no_array_of_ours(content, words):
    with pytest.raises(ValueError, match=words) as caught:
        members(a=content).array("a", (None, None), "uint8")
    assert "pickle" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_shapes_and_types_are_refused():
    found = Npz(io.BytesIO(archive(a=np.zeros((3, 4), "int32"))))
    for shape, kind in (((4, 3), "int32"), ((3, 4), "int64"), ((12,), "int32")):
        with pytest.raises(ValueError, match="a is int32 of shape"):
            found.array("a", shape, kind)
    with pytest.raises(ValueError, match=r"it has no b\.npy"):
        found.array("b", (1,), "int32")
    with pytest.raises(ValueError, match="larger than makes sense"):
        found.read("a.npy", 10)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=64))
def test_changed_bytes_give_the_array_or_a_value_error(start, new):
    content = bytearray(archive(a=np.arange(50, dtype="int32")))
    start %= len(content)
    content[start : start + len(new)] = new
    with suppress(ValueError):
        found = Npz(io.BytesIO(bytes(content))).array("a", (50,), "int32")
        assert found.shape == (50,)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}x'])
def test_what_is_no_json(content):
    with pytest.raises(ValueError, match=r"^it is "):
        parse_json(content)


def test_headers_are_parsed_one_at_a_time(monkeypatch):
    inside, most = [], []
    real = np.lib.format.read_array_header_1_0

    def slow(file):
        inside.append(file)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return real(file)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", slow)
    content = io.BytesIO()
    np.save(content, np.zeros(3, dtype=np.uint8))
    with ThreadPoolExecutor(3) as pool:
        files = [io.BytesIO(content.getvalue()) for _ in range(3)]
        assert [shape for shape, *_ in pool.map(read_npy_header, files)] == [(3,)] * 3
    assert most == [1, 1, 1]


@pytest.mark.parametrize("name", ["plain", "turned"])
def test_a_file_is_mapped(tmp_path, name):
    np.save(tmp_path / "a.npy", ARRAYS[name])
    found = map_npy(tmp_path / "a.npy")
    assert np.array_equal(found, ARRAYS[name])
    assert found.flags.f_contiguous == ARRAYS[name].flags.f_contiguous
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_objects_are_not_mapped(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        map_npy(tmp_path / "a.npy")


def test_headers_are_read_in_one_place_only():
    """Under the lock: whatever else parses one may do so while another thread does."""
    package = Path(napari_flowinpaint.__file__).parent
    others = r"(np|numpy)\.load\(|format\.read_|open_memmap|literal_eval|ast\.parse"
    found = {
        path.name
        for path in package.rglob("*.py")
        if re.search(others, path.read_text(encoding="utf-8"))
    }
    assert found == {"npz.py"}
