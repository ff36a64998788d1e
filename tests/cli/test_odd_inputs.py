"""The command line with stores, masks, paths and streams that are legal but unusual."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from command_line import FAST
from make_stacks import write_ngff

from napari_flowinpaint.cli import run
from napari_flowinpaint.core import export
from napari_flowinpaint.core.simulation.sample import SampleConfig, damaged_sample

SHAPE = (5, 64, 72)
HOLE = (2, slice(20, 40), slice(30, 50))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return damaged_sample(SampleConfig(shape=SHAPE, seed=2)).truth


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[HOLE] = 1
    return mask


@pytest.fixture
def data(tmp_path: Path, truth: np.ndarray, mask: np.ndarray) -> Path:
    """A folder with a stack and its mask."""
    write_ngff(tmp_path / "stack.zarr", truth, scale=(40, 4, 4), levels=2, chunks=(1, 32, 32))
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    return tmp_path


def flowinpaint(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


def pixels(store: Path, level: str = "0") -> np.ndarray:
    array = zarr.open_array(str(store / level), mode="r")
    return np.asarray(array[...])


def test_a_channel_can_be_repaired_listed_and_reverted(data, truth, capsys):
    stack = data / "many.zarr"
    many = np.stack([np.stack([truth, truth[:, ::-1]]), np.stack([truth // 2, truth // 3])])
    write_ngff(stack, many, axes="tczyx", levels=2, chunks=(1, 1, 1, 32, 32))
    before = pixels(stack)
    chosen = ["--channel", 1, "--time", 0]
    assert flowinpaint("repair", stack, "--mask", data / "mask.tif", "--in-place", *chosen) == 0
    assert not np.array_equal(pixels(stack)[0, 1], before[0, 1])
    capsys.readouterr()
    assert flowinpaint("history", stack, *chosen) == 0
    assert "committed" in capsys.readouterr().out
    assert flowinpaint("history", stack, "--channel", 0, "--time", 0) == 0
    assert "no repairs" in capsys.readouterr().out
    assert flowinpaint("revert", stack) == 2, "which channel is not for us to guess"
    assert flowinpaint("revert", stack, *chosen) == 0
    assert np.array_equal(pixels(stack), before)


# ---- masks


def write_mask(folder: Path, mask: np.ndarray, kind: str) -> str:
    """Write a mask in one of many ways; return what to give to ``--mask``."""
    import h5py

    if kind == "hdf5 image":
        with h5py.File(folder / "mask.h5", "w") as file:
            file["other"] = mask
            file["damage"] = mask[HOLE[0]]
        return f"{folder}/mask.h5:/damage"
    if kind == "tiff of one page":
        tifffile.imwrite(folder / "one.tif", mask[HOLE[0]][None], photometric="minisblack")
        return str(folder / "one.tif")
    if kind == "zarr of one section":
        zarr.create_array(str(folder / "one.zarr"), data=mask[HOLE[0]][None])
        return str(folder / "one.zarr")
    tifffile.imwrite(folder / "typed.tif", mask.astype(kind) / np.dtype(kind).type(2))
    return str(folder / "typed.tif")


@pytest.mark.parametrize(
    "kind", ["hdf5 image", "tiff of one page", "zarr of one section", "float32", "float64"]
)
def test_masks_come_in_many_ways(data, truth, mask, kind):
    where = write_mask(data, mask, kind)
    stack = data / "stack.zarr"
    assert flowinpaint("repair", stack, "--mask", where, "--sections", 2, "--in-place") == 0
    marked = pixels(stack / "labels" / "synthetic") != 0
    assert np.array_equal(marked, mask != 0)
    assert np.array_equal(pixels(stack)[~marked], truth[~marked])


@pytest.mark.parametrize("where", [HOLE[0], 4])
def test_a_mask_with_nan_is_refused(data, mask, capsys, where):
    unclear = mask.astype(np.float32)
    unclear[where, 0, 0] = np.nan
    tifffile.imwrite(data / "nan.tif", unclear)
    before = pixels(data / "stack.zarr")
    arguments = ["--mask", data / "nan.tif", "--in-place"]
    assert flowinpaint("repair", data / "stack.zarr", *arguments) == 2
    assert f"mask of section {where} contains NaN" in capsys.readouterr().err
    assert np.array_equal(pixels(data / "stack.zarr"), before)


# ---- paths


def repair(data: Path, *more: object, stack: object = "stack.zarr") -> int:
    return flowinpaint("repair", data / str(stack), "--mask", data / "mask.tif", *more)


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("--report", "stack.zarr/zarr.json"),
        ("--report", "stack.zarr/report.json"),
        ("--report", "link.zarr/report.json"),
        ("--report", "mask.tif"),
        ("--report", "out.zarr"),
        ("--report", "out.zarr/report.json"),
        ("--output", "mask.zarr"),
        ("--output", "mask.zarr/inside.zarr"),
    ],
)
def test_nothing_that_is_read_is_written_over(data, mask, capsys, option, place):
    zarr.create_array(str(data / "mask.zarr"), data=mask)
    (data / "link.zarr").symlink_to(data / "stack.zarr")
    used = data / ("mask.zarr" if option == "--output" else "mask.tif")
    output = [] if option == "--output" else ["--output", data / "out.zarr"]
    before = (data / "stack.zarr" / "zarr.json").read_bytes(), used.stat().st_mtime_ns
    arguments = ["--mask", used, option, data / place, "--overwrite", *output]
    assert flowinpaint("repair", data / "stack.zarr", *arguments) == 2
    error = capsys.readouterr().err
    assert f"{place} would write into" in error or f"{place} lies within" in error
    assert before == ((data / "stack.zarr" / "zarr.json").read_bytes(), used.stat().st_mtime_ns)
    assert not (data / "out.zarr").exists()


def test_a_benchmark_table_does_not_replace_the_stack(data, truth, capsys):
    tifffile.imwrite(data / "stack.tif", truth, photometric="minisblack")
    stack = data / "stack.tif"
    assert flowinpaint("benchmark", stack, "--output", stack) == 2
    assert "would write into" in capsys.readouterr().err
    assert np.array_equal(tifffile.imread(stack), truth)


def test_a_report_that_may_not_be_replaced(data, capsys, monkeypatch):
    report = data / "report.json"
    report.write_text("earlier")
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda p, mode: (p, mode) != (report, os.W_OK) and allowed(p, mode)
    )
    assert repair(data, "--in-place", "--report", report) == 2
    assert "may not write to this file" in capsys.readouterr().err
    assert not (data / "stack.zarr" / "labels").exists(), "found out too late"
    monkeypatch.undo()
    assert repair(data, "--in-place", "--report", report) == 0
    assert json.loads(report.read_text())["repaired"] == 1


def test_paths_that_a_shell_left_empty(data, capsys, monkeypatch):
    monkeypatch.chdir(data / "stack.zarr")
    before = pixels(data / "stack.zarr")
    for arguments in (
        ["repair", "", "--mask", data / "mask.tif", "--in-place"],
        ["repair", data / "stack.zarr", "--mask", "", "--in-place"],
        ["repair", data / "stack.zarr", "--mask", data / "mask.tif", "--output", ""],
        ["revert", ""],
        ["history", " "],
    ):
        assert flowinpaint(*arguments) == 2
        assert "empty" in capsys.readouterr().err
    assert np.array_equal(pixels(data / "stack.zarr"), before)


def test_weights_for_a_repair(data, capsys):
    from napari_flowinpaint.core.networks.paper.discriminator import Discriminator
    from napari_flowinpaint.core.networks.paper.inpainting import (
        InpaintingConfig,
        PaperConfig,
        PaperNetwork,
    )
    from napari_flowinpaint.core.networks.weights import save_network

    own, other = data / "own.safetensors", data / "other.safetensors"
    save_network(own, PaperNetwork(PaperConfig(inpainting=InpaintingConfig((8, 8)))))
    save_network(other, Discriminator())
    command = ["repair", data / "stack.zarr", "--mask", data / "mask.tif", "--in-place"]
    paper = ["--method", "flowinpaint-paper"]
    for arguments, message in (
        (
            ["--weights", own],
            "--weights needs a method with a network; choose one with --method: flowinpaint, ",
        ),
        ([*paper, "--weights", other], "holds a network 'discriminator', not 'paper'"),
        (["--method", "flowinpaint", "--weights", own], "holds a network 'paper', not 'joint'"),
        ([*paper, "--weights", data / "nowhere.safetensors"], "cannot be read as weights"),
    ):
        assert flowinpaint(*command, *arguments) == 2
        assert message in capsys.readouterr().err
    report = data / "report.json"
    assert flowinpaint(*command, *paper, "--weights", own, "--report", report) == 0
    text = json.loads(report.read_text())
    assert text["options"]["weights"] == str(own)
    assert text["sections"][0]["windows"][0]["method"] == "flowinpaint-paper"


def test_an_output_that_is_a_link(data):
    """Where the link leads is written, and replaced; the link stays."""
    (data / "link.zarr").symlink_to(data / "real.zarr")
    for more in ([], ["--overwrite"]):
        assert repair(data, "--output", data / "link.zarr", *more) == 0
        assert (data / "link.zarr").is_symlink()
        assert np.count_nonzero(pixels(data / "real.zarr" / "labels" / "synthetic")) == 400
    assert not list(data.glob(".*")), "something was left behind"


def test_names_that_are_no_unicode(data, capfd):
    name = os.fsdecode(b"caf\xe9.zarr")
    try:
        (data / name).mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    assert repair(data, "--output", data / name, "--overwrite") == 2, "no store to replace"
    (data / name).rmdir()
    assert repair(data, "--output", data / name) == 0
    assert flowinpaint("history", data / name) == 0
    assert flowinpaint("history", data / f"not-{name}") == 2
    assert "committed" in capfd.readouterr().out


# ---- streams and signals


def program(*arguments: object, before: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """Start the program in a process of its own."""
    code = f"{before}\nfrom napari_flowinpaint.cli import main\nmain()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, **options)


def repair_both(data: Path, mask: np.ndarray) -> list[object]:
    mask[3, 5:20, 5:20] = 1
    tifffile.imwrite(data / "mask.tif", mask, photometric="minisblack")
    return ["repair", data / "stack.zarr", "--mask", data / "mask.tif", *FAST]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_the_work_is_done_when_nobody_reads_the_output(data, mask):
    with program(*repair_both(data, mask), "--in-place") as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
    assert np.array_equal(pixels(data / "stack.zarr" / "labels" / "synthetic") != 0, mask != 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_report_that_is_lost_is_reported(data, capsys):
    assert repair(data, "--in-place", "--report", "/dev/full") == 1
    text = capsys.readouterr()
    assert "section 2: repaired" in text.out
    assert text.err == (
        "flowinpaint: the report /dev/full could not be written (No space left on device).\n"
    )


def test_a_report_tells_that_nothing_was_saved(data, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(export, "move_into_place", full)
    report = data / "report.json"
    assert repair(data, "--output", data / "out.zarr", "--report", report) == 2
    assert "no space left" in json.loads(report.read_text())["error"]
    monkeypatch.undo()
    assert repair(data, "--output", data / "out.zarr", "--report", report) == 0
    assert json.loads(report.read_text())["error"] is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_log_on_a_full_disk_does_not_stop_the_work(data, mask):
    with (
        Path("/dev/full").open("wb") as full,
        program(*repair_both(data, mask), "--output", data / "o.zarr", stdout=full) as process,
    ):
        assert b"could not be printed" in process.stderr.read()
        assert process.wait() == 0
    assert np.array_equal(pixels(data / "o.zarr" / "labels" / "synthetic") != 0, mask != 0)


def test_any_name_can_be_printed(data):
    name = data / os.fsdecode(b"caf\xe9.zarr")
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        with program("history", name, env=environment) as process:
            text = process.stderr.read()
            assert process.wait() == 2
        assert text.startswith(b"flowinpaint: ")
        assert b"does not exist" in text
        assert text.count(b"\n") == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_job_that_is_ended_leaves_no_half_copy(data, mask, number):
    slow = (
        "import time\n"
        "from napari_flowinpaint.core.repair import repair_section as repair\n"
        "def wait(*a, **k):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "repair.repair_section = wait\n"
    )
    before = sorted(data.iterdir())
    with program(*repair_both(data, mask), "--output", data / "o.zarr", before=slow) as process:
        while not process.stdout.readline().startswith(b"waiting"):  # two threads say so
            assert process.poll() is None
        process.send_signal(getattr(signal, number))
        assert process.stderr.read() == b"flowinpaint: interrupted.\n"
        assert process.wait() == 130
    assert sorted(data.iterdir()) == before
