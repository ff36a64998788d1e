"""What holds for all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from hypothesis import settings

# Where the key of the seals is kept; inherited by the processes that tests start
_STATE = tempfile.TemporaryDirectory(prefix="flowinpaint-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name

# Stores are written and read for every example: few of them, others each time. Many with
# --hypothesis-profile=thorough
settings.register_profile("few", max_examples=12)
settings.register_profile("thorough", max_examples=200)
settings.load_profile("few")


def _open_display() -> None:
    """Give windows a display of their own: those on one display take the focus from each other."""
    if not sys.platform.startswith("linux") or shutil.which("Xvfb") is None:
        return
    told, tell = os.pipe()
    command = ["Xvfb", "-displayfd", str(tell), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[tell], stderr=subprocess.DEVNULL)
    os.close(tell)
    with os.fdopen(told) as file:
        number = file.readline().strip()  # empty where it could not start
    if number:
        atexit.register(server.terminate)
        os.environ["DISPLAY"] = f":{number}"
        os.environ.pop("WAYLAND_DISPLAY", None)


# Where tests run at once, threads of one would wait for the processors of the other. Inherited by
# the processes that tests start
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _open_display()

# A shell ignores SIGINT in what it starts in the background, and Python then installs no handler:
# the tests that interrupt would wait for ever. Processes that tests start inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # likewise what nohup starts
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
