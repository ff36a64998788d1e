"""The networks that ``flowinpaint train`` trains, and the settings that each of them takes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.training.loop import Schedule


@dataclass(frozen=True, slots=True)
class Trainable:
    """A network that can be trained.

    Parameters
    ----------
    module
        Where its training lives, within ``core.training``.
    plan
        Name there of the dataclass with the settings.
    fixed
        Settings that its name stands for.
    takes
        Options it takes beyond those of every training.
    ablations
        What can be left out by ``--ablation``, and what that changes in the plan.
    """

    module: str
    plan: str
    fixed: dict[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    ablations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self) -> type[Schedule]:
        """Import the plan."""
        module = importlib.import_module(f"..core.training.{self.module}", __package__)
        plan: type[Schedule] = getattr(module, self.plan)
        return plan


def _paper(stage: str, **more: Any) -> Trainable:
    return Trainable("paper.train_two_stage", "TwoStagePlan", {"stage": stage}, **more)


def _fold(stage: str, *takes: str) -> Trainable:
    return Trainable("fold.train_fold", "FoldPlan", {"stage": stage}, takes)


NETWORKS = {
    "joint": Trainable("train_joint", "JointPlan", takes=("start",)),
    "missing": Trainable("train_missing", "MissingPlan", takes=("start",)),
    "one-neighbour": Trainable(
        "one.train_one",
        "OnePlan",
        takes=("start", "ablation"),
        ablations={
            "larn": {"larn": False},
            "triplet": {"triplet": False},
            "adversary": {"adversarial": False},
        },
    ),
    "single": Trainable("single.train_single", "SinglePlan", takes=("start",)),
    "gap": Trainable("gap.train_gap", "GapPlan"),
    "reference": _paper("reference", takes=("start", "vgg")),
    "inpainting": _paper(
        "inpainting",
        takes=("start", "vgg", "refined", "fine_tune", "ablation"),
        ablations={
            "references": {"reference": "none"},
            "refinement": {"reference": "initial"},
            "aggregation": {"aggregation": False},
            "adversary": {"adversarial": False},
        },
    ),
    "fold-interpolation": _fold("interpolation"),
    "fold-unfolding": _fold("unfolding", "interpolation"),
    "fold-fusion": _fold("fusion", "interpolation", "unfolding"),
}


def settings_of(
    network: str, ablations: Sequence[str], **options: Path | bool | None
) -> tuple[Trainable, dict[str, Any]]:
    """Return a network and the settings of its plan beyond those of every training.

    Parameters
    ----------
    network
        As typed after ``--network``.
    ablations
        As typed after ``--ablation``.
    **options
        Further options by name; None or False where they were not given.

    Raises
    ------
    InputError
        If there is no such network, or it does not take what was given.
    """
    chosen = NETWORKS.get(network)
    if chosen is None:
        raise InputError(f"unknown --network '{network}'; choose one of: {', '.join(NETWORKS)}.")
    given = {name: value for name, value in options.items() if value not in (None, False)}
    for name in (*given, *(("ablation",) if ablations else ())):
        if name not in chosen.takes:
            takers = [other for other, one in NETWORKS.items() if name in one.takes]
            raise InputError(
                f"--{name.replace('_', '-')} needs --network {' or '.join(takers)}, "
                f"not '{network}'; leave it out or choose another network."
            )
    settings = chosen.fixed | {
        name: value if isinstance(value, bool) else str(value) for name, value in given.items()
    }
    for text in ablations:
        if text not in chosen.ablations:
            raise InputError(
                f"unknown --ablation '{text}'; choose from {', '.join(chosen.ablations)}."
            )
        settings |= chosen.ablations[text]
    return chosen, settings
