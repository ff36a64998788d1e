"""``flowinpaint train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.types import Progress
from ._console import DONE, progress_bar, tell
from ._parse import check_file


def train_weights(
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
    device: str,
    seed: int,
) -> int:
    """Train, tell where the weights are; return the exit code."""
    check_file(output, "--output")
    if output.suffix != ".safetensors":
        raise InputError(f"--output {output} must end in .safetensors.")
    from ..core.device import resolve_device
    from ..core.training.data import StackSpec
    from ..core.training.joint import Plan, train_joint

    plan = Plan(
        size=size,
        steps=steps,
        minutes=minutes,
        batch=batch,
        crop=crop,
        every=every or (5 if minutes is not None else 500),
        seed=seed,
    )
    with progress_bar("train") as progress:
        outcome = train_joint(
            [StackSpec.parse(stack) for stack in stacks],
            [StackSpec.parse(stack) for stack in held_out],
            output,
            plan,
            resume=resume,
            device=resolve_device(device),
            progress=_said(progress),
        )
    best = f", best structure PSNR {outcome.best:.2f} dB" if held_out else ""
    tell(f"{outcome.steps} steps in {outcome.seconds / 60:.1f} minutes{best}")
    tell(f"written: {output}")
    return DONE


def _said(progress: Progress) -> Progress:
    """Show every tenth step: a bar is slower than a small step."""

    def show(fraction: float, message: str) -> None:
        if message.split(",")[0].endswith("0"):
            progress(fraction, message)

    return show
