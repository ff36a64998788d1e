"""Which devices networks could use here."""

from __future__ import annotations

from ...core.types import Progress


def list_devices(*, progress: Progress) -> tuple[str, ...]:
    """Return the devices torch could use here.

    Another process is asked, since importing torch would hold up the viewer for seconds.
    """
    import subprocess
    import sys
    from importlib.util import find_spec

    progress(0.0, "looking for a GPU")
    if find_spec("torch") is None:
        return ("auto", "cpu")
    code = (
        "import torch\n"
        "if torch.cuda.is_available(): print('cuda')\n"
        "if getattr(torch.backends, 'mps', None) and torch.backends.mps.is_available():"
        " print('mps')"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ("auto", "cpu")
    found = [name for name in done.stdout.split() if name in ("cuda", "mps")]
    return ("auto", "cpu", *found)
