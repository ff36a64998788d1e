"""Write small files of formats that are read, but not written, by this package."""

import json
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest


def write_mrc(path: Path, pixels: np.ndarray, **header: Any) -> Path:
    """Write an MRC file; ``header`` are fields, or bytes at an offset."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(pixels)
        file.voxel_size = (40, 40, 400)
        for name, value in header.items():
            file.header[name] = value
    return path


def set_bytes(path: Path, at: int, value: bytes) -> None:
    with path.open("r+b") as opened:
        opened.seek(at)
        opened.write(value)


def imod(flags: int) -> bytes:
    return (1146047817).to_bytes(4, "little") + flags.to_bytes(4, "little")


def write_n5(path: Path, pixels: np.ndarray, compression: str = "gzip", **attributes: Any) -> Path:
    ts = pytest.importorskip("tensorstore")
    metadata = {
        "dimensions": pixels.shape[::-1],
        "blockSize": [32, 32, 2] + [1] * (pixels.ndim - 3),
        "dataType": pixels.dtype.name,
        "compression": {"type": compression},
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path)}, "metadata": metadata}
    ts.open(spec, create=True).result()[...] = pixels.T
    file = path / "attributes.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | attributes))
    return path


def write_precomputed(path: Path, pixels: np.ndarray, sharded: bool = False) -> Path:
    ts = pytest.importorskip("tensorstore")
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 1,
        "minishard_bits": 1,
        "shard_bits": 1,
        "hash": "identity",
    }
    for level, factor in enumerate((1, 2)):
        scale = {
            "size": pixels[:, ::factor, ::factor].shape[::-1],
            "resolution": [4 * factor, 4 * factor, 40],
            "encoding": "raw",
            "chunk_size": [32, 32, 2],
            "voxel_offset": [100 // factor, 200 // factor, 3],
        }
        if sharded:
            scale["sharding"] = sharding
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": str(path)},
            "scale_metadata": scale,
        }
        if level == 0:
            data_type = {"data_type": pixels.dtype.name, "num_channels": 1, "type": "image"}
            spec["multiscale_metadata"] = data_type
        ts.open(spec, create=True).result()[...] = pixels[:, ::factor, ::factor].T[..., None]
    return path
