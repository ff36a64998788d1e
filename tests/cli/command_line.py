"""What the tests of the command line share."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from napari_flowinpaint.cli import run

SHAPE = (7, 96, 112)
DAMAGED = [2, 4]
#: A repair that neither loads torch nor judges itself, where the repair is not the point.
FAST = ("--method", "flow", "--texture", "smooth", "--gate", "off")


def tree(folder: Path) -> dict[str, str]:
    """Return every file below a folder with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(capsys, folder: Path, *arguments: object, code: int = 2, kept: str = "") -> str:
    """Run a command that must fail; return its one line, beside notes.

    Nothing may be written by it, but for a staging folder that is named ``kept``.
    """
    before = tree(folder)
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == code
    told = capsys.readouterr().err.splitlines(keepends=True)
    error = "".join(line for line in told if not line.startswith("note: "))
    assert error.startswith("flowinpaint: ")
    assert error.count("\n") == 1, f"more than one line: {error}"
    assert "Traceback" not in error
    left = {name: sha for name, sha in tree(folder).items() if name.split("/")[0] != kept}
    assert left == before, "something was written"
    assert not kept or f"kept in {folder / kept}: section" in error
    return error


def repair_arguments(data: Path, *more: object, stack="stack.zarr", mask="mask.tif") -> list:
    where = [] if "--output" in more or "--in-place" in more else ["--in-place"]
    return ["repair", data / stack, "--mask", data / mask, *where, *more]


def flowinpaint(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdout=pipe, stderr=pipe, text=True, **options
    )
