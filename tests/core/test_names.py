"""Names that came from outside, in messages."""

import shutil
import subprocess

import pytest

from napari_flowinpaint.core.names import printable, quoted

NAMES = (
    "a b",
    "q'uo\"te",
    "a;echo x>y;",
    "$(touch x)",
    "`x`",
    "new\nline",
    "\x1b[31m",
    "\u202e",
    "é",
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_a_message_proposes_names_the_file(name):
    told = quoted(f"/tmp/{name}.zarr")
    assert printable(told) == told
    command = ["bash", "-c", f"printf %s {told}"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == (
        f"/tmp/{name}.zarr"
    )
