"""What ``flowinpaint adapt`` does, once its options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled, InputError
from ..core.notes import Notes
from ._console import DONE, print_line, print_note, progress_bar
from ._parse import check_file

if TYPE_CHECKING:
    from ..core.io.stack import Stack
    from ..core.repair.neighbours import Masks


@dataclass(frozen=True, slots=True)
class AdaptCommand:
    """The options of one command line.

    Parameters
    ----------
    stack, output, mask, mask_dataset, minutes, resume, device, seed
        As on the command line.
    opening
        For :func:`~napari_flowinpaint.core.open.open_stack`.
    """

    stack: str
    output: Path | None
    mask: str | None
    mask_dataset: str | None
    minutes: float
    resume: bool
    device: str
    seed: int
    opening: Mapping[str, Any]


def adapt_weights(command: AdaptCommand) -> int:
    """Adapt, say what it gained; return the exit code."""
    if command.output is not None:
        check_file(command.output, "--output")
        if command.output.suffix != ".safetensors":
            raise InputError(f"--output {command.output} must end in .safetensors.")
    from ..core.device import resolve_device
    from ..core.open import open_stack
    from ..core.repair.adapted import adapted_path
    from ..core.training.adapt import AdaptPlan, adapt

    stack = open_stack(command.stack, **command.opening)
    notes = Notes(print_note)
    for message in stack.messages:
        notes(message)
    masks, skip = _damage(stack, command)
    try:
        with progress_bar("adapt") as progress:
            outcome = adapt(
                stack,
                command.output,
                masks=masks,
                skip=skip,
                plan=AdaptPlan(minutes=command.minutes, seed=command.seed),
                resume=command.resume,
                device=resolve_device(command.device),
                progress=progress,
            )
    except KeyboardInterrupt as error:
        raise Cancelled("interrupted; run the same command again to continue.") from error
    held = ", ".join(map(str, outcome.sections))
    print_line(
        f"sections held back ({held}): structure PSNR {outcome.before:.2f} dB with the released "
        f"weights, {outcome.after:.2f} dB adapted ({outcome.gain:+.2f} dB)"
    )
    if outcome.kept is None:
        stay = "the released weights" if outcome.stays is None else f"those of {outcome.stays.name}"
        print_line(f"nothing was gained on this stack; {stay} stay in use.")
        return DONE
    print_line(f"written: {outcome.kept}")
    if outcome.kept == adapted_path(stack):
        print_line("repairs of this stack use them from now on; delete the file to undo that.")
    return DONE


def _damage(stack: Stack, command: AdaptCommand) -> tuple[Masks, tuple[int, ...]]:
    """Return the damage that is known of a stack, and the sections to leave out.

    That of a mask, if one is given, and what was flagged and painted.
    """
    from ..core.mask_files import open_damage
    from ..core.masks.sparse_mask import SparseMask
    from ..core.repair.neighbours import no_masks
    from ..viewer.tasks.adapting import known_damage
    from ..viewer.tasks.flag_store import FlagStore

    masks: Masks = no_masks
    if command.mask is not None:
        masks = open_damage(command.mask, stack, None, dataset=command.mask_dataset).read
    flags = FlagStore.of(stack).load(stack.shape)
    seen: SparseMask | None = None
    if flags.base is not None or flags.tiles:
        seen = SparseMask(stack.shape, flags.base, labels=True)
        for z, tiles in flags.tiles.items():
            seen.restore(z, tiles)
    flagged, skip = known_damage(flags.rows, seen)
    return (lambda z, box: masks(z, box) | flagged(z, box)), skip
