"""Many sections: plan, repair into a staging folder, review, write what was accepted.

>>> plan = plan_batch(stack, mask)             # doctest: +SKIP
>>> print(plan)                                # doctest: +SKIP
>>> run_batch(plan, "stack.staging")           # doctest: +SKIP
>>> staged = load_staged("stack.staging")      # doctest: +SKIP
>>> staged.accept_above(20.0)                  # doctest: +SKIP
>>> commit(stack, staged)                      # doctest: +SKIP
"""

from __future__ import annotations

from ..masks.stack_mask import StackMask
from .batch_workers import Control
from .commit_staged import commit
from .plan import BatchPlan, Rate, SectionPlan, plan_batch
from .run_batch import BatchReport, run_batch
from .staged_section import StagedSection
from .staging import Staging, load_staged
from .task import SectionOutcome

__all__ = [
    "BatchPlan",
    "BatchReport",
    "Control",
    "Rate",
    "SectionOutcome",
    "SectionPlan",
    "StackMask",
    "StagedSection",
    "Staging",
    "commit",
    "load_staged",
    "plan_batch",
    "run_batch",
]
