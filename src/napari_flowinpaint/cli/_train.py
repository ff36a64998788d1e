"""``flowinpaint train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.types import Progress
from ._console import DONE, print_line, progress_bar
from ._networks import Trainable
from ._parse import check_file


def train_weights(
    network: Trainable,
    settings: dict[str, Any],
    stacks: Sequence[str],
    held_out: Sequence[str],
    output: Path,
    *,
    minutes: float | None,
    steps: int,
    every: float | None,
    resume: Path | None,
    size: str,
    batch: int,
    crop: int,
    rate: float | None,
    device: str,
    seed: int,
    no_data: float | None = None,
    allow_external: bool = False,
) -> int:
    """Train, print where the weights are; return the exit code.

    ``network`` and its ``settings`` come from :func:`~._networks.settings_of`.
    """
    check_file(output, "--output")
    if output.suffix != ".safetensors":
        raise InputError(f"--output {output} must end in .safetensors.")
    from ..core.device import resolve_device
    from ..core.training.data import StackSpec
    from ..core.training.loop import train_network

    given: dict[str, Any] = {"allow_external": allow_external, "no_data": no_data}
    ours, kept = (
        [replace(StackSpec.parse(text), **given) for text in texts] for texts in (stacks, held_out)
    )
    how = settings | {
        "size": size,
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "crop": crop,
        "every": every or (5 if minutes is not None else 500),
        "seed": seed,
    }
    if rate is not None:
        how["rate"] = rate
    plan = network.load()
    with progress_bar("train") as progress:
        outcome = train_network(
            ours,
            kept,
            output,
            plan(**how),
            resume=resume,
            device=resolve_device(device),
            progress=_said(progress),
        )
    best = f", best structure PSNR {outcome.best:.2f} dB" if held_out else ""
    print_line(f"{outcome.steps} steps in {outcome.seconds / 60:.1f} minutes{best}")
    print_line(f"written: {output}")
    return DONE


def _said(progress: Progress) -> Progress:
    """Show every tenth step: a bar is slower than a small step."""

    def show(fraction: float, message: str) -> None:
        if message.split(",")[0].endswith("0"):
            progress(fraction, message)

    return show
