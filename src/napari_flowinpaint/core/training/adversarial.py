"""Training a network against a discriminator, which is trained beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic

import torch

from ..networks.paper.discriminator import SIZES, Discriminator
from .data import StackSpec
from .loop import N, P, Training
from .state import ParameterAverage, load_state, read_numbers, save_state


class AdversarialTraining(Training[P, N], Generic[P, N]):
    """One training in progress, against a discriminator.

    Beside the state to resume from lies the discriminator's, ``.discriminator.safetensors``.
    """

    #: Of the discriminator's Adam; its rate is that of the network.
    betas: ClassVar[tuple[float, float]]

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: P,
        device: str,
    ) -> None:
        super().__init__(train, held_out, output, plan, device)
        self.discriminator = Discriminator(SIZES[plan.size]).to(device)
        parameters = self.discriminator.parameters()
        self.opponent = torch.optim.Adam(parameters, plan.rate, betas=self.betas)

    @property
    @abstractmethod
    def adversarial(self) -> bool:
        """Whether the discriminator is trained."""

    def _optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return self.optimizer, self.opponent

    def _save_more(self, state: Path, numbers: dict[str, Any]) -> None:
        if self.adversarial:
            average = ParameterAverage(self.discriminator, 0.0)
            save_state(_beside(state), self.discriminator, self.opponent, average, numbers)

    def _load_more(self, state: Path) -> None:
        if self.adversarial:
            beside = _beside(state)
            read_numbers(beside)
            average = ParameterAverage(self.discriminator, 0.0)
            load_state(beside, self.discriminator, self.opponent, average)


def _beside(state: Path) -> Path:
    return state.with_name(state.name.replace(".state.", ".discriminator."))
