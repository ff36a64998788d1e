"""``flowinpaint train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.types import Progress
from ._console import DONE, print_line, progress_bar
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
    start: Path | None,
    size: str,
    batch: int,
    crop: int,
    rate: float | None,
    device: str,
    seed: int,
    no_data: float | None = None,
    paper: dict[str, Any] | None = None,
    fold: dict[str, Any] | None = None,
    allow_external: bool = False,
) -> int:
    """Train, print where the weights are; return the exit code.

    ``paper`` are further settings of the paper's stages, see :func:`paper_options`, ``fold`` those
    of the networks that undo folds, see :func:`fold_options`; without both the joint network is
    trained.
    """
    check_file(output, "--output")
    if output.suffix != ".safetensors":
        raise InputError(f"--output {output} must end in .safetensors.")
    from ..core.device import resolve_device
    from ..core.training.data import StackSpec

    given: dict[str, Any] = {"allow_external": allow_external, "no_data": no_data}
    ours, kept = (
        [replace(StackSpec.parse(text), **given) for text in texts] for texts in (stacks, held_out)
    )
    how: dict[str, Any] = {
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
    if start is not None:
        if paper is not None or fold is not None:
            raise InputError("--start needs --network joint; use --resume or --refined instead.")
        how["start"] = str(start)
    with progress_bar("train") as progress:
        settings: dict[str, Any] = {
            "resume": resume,
            "device": resolve_device(device),
            "progress": _said(progress),
        }
        if fold is not None:
            from ..core.training.fold.train_fold import FoldPlan, train_fold

            outcome = train_fold(ours, kept, output, FoldPlan(**how, **fold), **settings)
        elif paper is None:
            from ..core.training.train_joint import JointPlan, train_joint

            outcome = train_joint(ours, kept, output, JointPlan(**how), **settings)
        else:
            from ..core.training.paper.train_two_stage import TwoStagePlan, train_two_stage

            outcome = train_two_stage(ours, kept, output, TwoStagePlan(**how, **paper), **settings)
    best = f", best structure PSNR {outcome.best:.2f} dB" if held_out else ""
    print_line(f"{outcome.steps} steps in {outcome.seconds / 60:.1f} minutes{best}")
    print_line(f"written: {output}")
    return DONE


#: What an ablation changes in the plan of a paper's stage.
_ABLATIONS: dict[str, dict[str, Any]] = {
    "references": {"reference": "none"},
    "refinement": {"reference": "initial"},
    "aggregation": {"aggregation": False},
    "adversary": {"adversarial": False},
}


def paper_options(
    network: str, refined: Path | None, fine_tune: bool, ablations: Sequence[str], vgg: Path | None
) -> dict[str, Any] | None:
    """Return the settings of a stage of the paper's networks; None for the joint network."""
    if network not in ("joint", "reference", "inpainting"):
        raise InputError(
            f"unknown --network '{network}'; choose joint, reference, inpainting, "
            "fold-interpolation, fold-unfolding or fold-fusion."
        )
    for text in ablations:
        if text not in _ABLATIONS:
            raise InputError(f"unknown --ablation '{text}'; choose from {', '.join(_ABLATIONS)}.")
    if network != "inpainting" and (refined is not None or fine_tune or ablations):
        raise InputError("--refined, --fine-tune and --ablation need --network inpainting.")
    if network == "joint":
        if vgg is not None:
            raise InputError("--vgg needs --network reference or inpainting.")
        return None
    options: dict[str, Any] = {"stage": network, "fine_tune": fine_tune}
    options |= {"refined": refined and str(refined), "vgg": vgg and str(vgg)}
    for text in ablations:
        options |= _ABLATIONS[text]
    return options


def fold_options(
    network: str, interpolation: Path | None, unfolding: Path | None
) -> dict[str, Any] | None:
    """Return the settings of a network that undoes folds; None for another network."""
    prefix, _, stage = network.partition("-")
    given = {"interpolation": interpolation, "unfolding": unfolding}
    if prefix != "fold" or stage not in ("interpolation", "unfolding", "fusion"):
        if any(path is not None for path in given.values()):
            raise InputError(
                "--interpolation and --unfolding need --network fold-unfolding or fold-fusion."
            )
        return None
    return {"stage": stage} | {key: str(path) for key, path in given.items() if path is not None}


def _said(progress: Progress) -> Progress:
    """Show every tenth step: a bar is slower than a small step."""

    def show(fraction: float, message: str) -> None:
        if message.split(",")[0].endswith("0"):
            progress(fraction, message)

    return show
