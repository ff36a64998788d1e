"""Devices are named in one way, and one that is not there is refused."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from napari_flowinpaint.core.device import resolve_device
from napari_flowinpaint.core.errors import InputError


def _pretend(monkeypatch, *, cuda: int = 0, mps: bool = False) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("asked", "cuda", "mps", "given"),
    [
        ("cpu", 2, True, "cpu"),
        ("auto", 0, False, "cpu"),
        ("auto", 1, False, "cuda:0"),
        ("auto", 0, True, "mps"),
        ("cuda", 2, False, "cuda:0"),
        ("cuda:1", 2, False, "cuda:1"),
        ("mps", 0, True, "mps"),
    ],
)
def test_resolves(monkeypatch, asked, cuda, mps, given):
    _pretend(monkeypatch, cuda=cuda, mps=mps)
    assert resolve_device(asked) == given


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:3", "mps"])
def test_refuses_what_is_not_there(monkeypatch, asked):
    _pretend(monkeypatch)
    with pytest.raises(InputError, match=f"no device '{asked}'"):
        resolve_device(asked)


@pytest.mark.parametrize("asked", ["gpu", "", "cuda:", "cuda:x", "cpu:0", "CPU"])
def test_refuses_unknown_names(asked):
    with pytest.raises(InputError, match="not a device"):
        resolve_device(asked)


def test_auto_costs_nothing_without_torch():
    script = (
        "import sys; from napari_flowinpaint.core.device import resolve_device as r; "
        "assert r('auto', needs_torch=False) == 'cpu'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(platform.system() != "Linux", reason="lists the libraries as Linux does")
@pytest.mark.parametrize(
    ("own", "spins"), [({}, "3000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "x"}, "")]
)
def test_threads_of_torch_do_not_spin_for_long_unless_the_user_wants_it(own, spins):
    script = (
        "import os, sys; from napari_flowinpaint.core.device import limit_spinning\n"
        "limit_spinning()\n"
        "assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT', ''))"
    )
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    settings = {name: v for name, v in os.environ.items() if name not in names} | own
    done = subprocess.run(
        [sys.executable, "-c", script], env=settings, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == spins
