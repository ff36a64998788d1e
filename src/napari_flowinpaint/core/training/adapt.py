"""Adapt the released weights to one stack, using its own intact sections.

Two things are learned: the weights of the hypotheses in every band (pooled over many holes, while a
rehearsal has one window only), and a network, starting from the released one. Some sections are
held back; complete repairs of these decide what is kept, if anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..disk.open_root import open_root
from ..disk.ownership import is_owned, remove_owned
from ..disk.workplace import make_ours
from ..errors import Cancelled, InputError
from ..methods.flow import Priors, hypotheses_of_window
from ..methods.flowinpaint import REACH, FlowInpaintMethod, source_of_network
from ..metrics import data_range, score
from ..networks.joint import JointNet
from ..networks.released import load_any, released
from ..networks.weights import load_network, save_network
from ..reference.fusion import Bands, pooled_prior, products
from ..reference.hypotheses import flow_source
from ..repair.adapted import adapted_path, adapted_weights, identity_of
from ..repair.neighbours import Masks, no_masks
from ..repair_options import RepairOptions
from ..types import Progress, no_progress
from ..window import Window
from .places import Place, choose_places
from .train_joint import JointPlan
from .training_masks import training_mask
from .tune import tune
from .validation import FRACTIONS

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Least gain on the sections held back, dB, for the new weights to be kept.
_LEAST_GAIN = 0.05
#: Shares of the time: for the network; the rest is for the weights of hypotheses and the decision.
_NETWORK = 0.65
#: Holes to learn the weights of hypotheses from, at most.
_HOLES = 48
#: What the folder beside the weights is for while they are made, and what is in it.
_KIND = "adapting"
_STEM = "network"
_FILES = tuple(_STEM + end for end in (".safetensors", ".state.safetensors", ".csv", ".svg"))


@dataclass(frozen=True)
class AdaptPlan:
    """How long to adapt, and how.

    Parameters
    ----------
    minutes
        Time, at most, on one or two processor cores.
    rate, batch, crop
        Of the network's training; see :class:`~.loop.Schedule`.
    seed
        Seed of places, holes and samples.
    network
        Whether the network is trained as well; the weights of hypotheses alone take a minute.
    """

    minutes: float = 10.0
    rate: float = 2e-4
    batch: int = 2
    crop: int = 224
    seed: int = 0
    network: bool = True


@dataclass(frozen=True)
class AdaptOutcome:
    """Result of an adaptation.

    Parameters
    ----------
    before, after
        Mean structure PSNR, dB, of repairs of the sections held back: with the released weights,
        with the best that was learned.
    sections
        Those sections.
    worst
        Least gain of one of the holes, dB.
    kept
        The weights; None where nothing was gained, and no file was written.
    seconds
        Time it took.
    stays
        Weights that were adapted earlier and stay in use, since nothing was gained now; None where
        there are none.
    """

    before: float
    after: float
    sections: tuple[int, ...]
    worst: float
    kept: Path | None
    seconds: float
    stays: Path | None = None

    @property
    def gain(self) -> float:
        """Gain on the sections held back, dB."""
        return self.after - self.before


def adapt(
    stack: Stack,
    output: Path | None = None,
    *,
    masks: Masks = no_masks,
    skip: Sequence[int] = (),
    plan: AdaptPlan | None = None,
    resume: bool = True,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> AdaptOutcome:
    """Adapt the released weights to a stack.

    Parameters
    ----------
    stack
        What to learn from.
    output
        The weights; None: beside the stack, where repairs of it find them.
    masks
        Returns the damage of a section, which is not learned from.
    skip
        Sections that are not to be learned from at all.
    plan
        How.
    resume
        Whether to continue training the network of a cancelled adaptation, and to keep that of this
        one if it is cancelled.
    device
        Where the network computes.
    progress
        Called with (fraction, message); raising ``Cancelled`` ends it. With ``resume`` what the
        network has learned by then is kept, to be resumed.

    Raises
    ------
    InputError
        Too few intact sections, no released weights, or no place for the output.
    Cancelled
        ``progress`` asked for it.
    """
    plan, started = plan or AdaptPlan(), time.monotonic()
    target, first = output or adapted_path(stack), released()
    if first is None:
        raise InputError("there are no released weights to start from; reinstall the package.")
    if target is None:
        raise InputError(
            "this stack is not a file on this computer; say where to write with --output."
        )
    progress(0.0, "choosing intact sections")
    places, held = choose_places(stack, masks, frozenset(skip), plan.seed)
    candidates: list[Path | None] = [None]
    work = target.with_name(f".{target.name}.{_KIND}")
    with _workplace(work, resume):
        tuned = None
        if plan.network:
            part = lambda f, m: progress(0.02 + _NETWORK * f, m)  # noqa: E731
            schedule = _schedule(plan, first)
            tuned = tune(places, held, work / _FILES[0], schedule, resume, device, part)
        for number, (file, name) in enumerate(((first, "a"), (tuned, "b"))):
            if file is None:
                continue
            at = 0.02 + _NETWORK + 0.12 * number
            report = partial(_report_part, progress, at, 0.1, "weighing the hypotheses")
            net, _ = load_any(file, device, "joint")
            candidates.append(work / f"{name}.safetensors")
            priors = _learn_priors(places, plan.seed, device, net, report)
            told = {"fusion": [matrix.round(5).tolist() for matrix in priors.values()]}
            save_network(work / f"{name}.safetensors", net, {"adapted": told})
        scores = []
        for number, candidate in enumerate(candidates):
            at, share = 0.92 + 0.08 * number / len(candidates), 0.08 / len(candidates)
            report = partial(_report_part, progress, at, share, "repairing sections held back")
            scores.append(_scores(candidate, held, plan.seed, device, report))
        best = max(range(len(scores)), key=lambda n: float(scores[n].mean()))
        gain = float(scores[best].mean() - scores[0].mean())
        chosen = candidates[best] if gain >= _LEAST_GAIN else None
        worst = float((scores[best] - scores[0]).min())
        if chosen is not None:
            _keep(chosen, target, stack, places, gain)
    _clear(work)
    progress(1.0, "adapted")
    return AdaptOutcome(
        before=float(scores[0].mean()),
        after=float(scores[best].mean()),
        sections=tuple(sorted({place.z for place in held})),
        worst=worst,
        kept=target if chosen is not None else None,
        seconds=time.monotonic() - started,
        stays=adapted_weights(stack).path if chosen is None else None,
    )


def _schedule(plan: AdaptPlan, first: Path) -> JointPlan:
    """Return how the network is trained: for its share of the time, however many steps."""
    minutes = _NETWORK * plan.minutes
    return JointPlan(
        steps=1_000_000,
        minutes=minutes,
        batch=plan.batch,
        crop=plan.crop,
        rate=plan.rate,
        decay=0.98,
        every=minutes / 12,
        seed=plan.seed,
        warm_up=20,
        start=str(first),
    )


def _keep(chosen: Path, target: Path, stack: Stack, places: Sequence[Place], gain: float) -> None:
    """Write the weights, with a record of the stack they belong to."""
    net, info = load_network(chosen)
    told = info.training["adapted"] | {
        "stack": identity_of(stack, [(place.z, place.box) for place in places]),
        "gain": round(gain, 3),
    }
    save_network(target, net, {"adapted": told})


def _report_part(progress: Progress, at: float, share: float, told: str, done: float) -> None:
    """Report how far a part of the whole is."""
    progress(at + share * done, told)


@contextmanager
def _workplace(work: Path, keep: bool) -> Iterator[None]:
    """Make the folder that is worked in; ``keep`` it where the adaptation is cancelled."""
    try:
        with make_ours(work, _KIND, (*_FILES, "a.safetensors", "b.safetensors")):
            yield
    except Cancelled:
        if not keep:
            _clear(work)
        raise


def _clear(work: Path) -> None:
    """Remove the folder of an adaptation that is finished."""
    with open_root(work.parent) as parent, suppress(FileNotFoundError):
        with parent.folder(work.name) as folder:
            owned = is_owned(folder, _KIND)
        if owned:
            remove_owned(parent, work.name, _KIND)


# ---- the weights of hypotheses


def _window(place: Place, fraction: tuple[float, float], rng: np.random.Generator) -> Window:
    """Return a damaged window of a place."""
    height, width = place.images.shape[1:]
    mask = training_mask(max(height, width), rng, fraction)[:height, :width]
    return place.window(mask & place.intact[2])


def _learn_priors(
    places: Sequence[Place], seed: int, device: str, net: JointNet, report: Any
) -> Priors:
    """Return the weights that holes of all places teach, of the hypotheses of both sources."""
    sources = (source_of_network(net, device, 0.5), flow_source)
    sums: dict[int, list[Any]] = {}
    repeats = max(_HOLES // len(places), 1)
    holes = [(number, k) for k in range(repeats) for number in range(len(places))][:_HOLES]
    for done, (number, repeat) in enumerate(holes):
        report(done / len(holes))
        rng = np.random.default_rng((seed, 1, number, repeat))
        window = _window(places[number], (0.08, 0.5), rng)
        for source_of in sources:
            found, greys = hypotheses_of_window(source_of, window, seed, REACH)
            if sum(h.further for h in found) != 2:
                continue
            truth = greys.to_working(places[number].images[2].astype(np.float32))
            new = products(Bands.of([h.image for h in found], truth, window.mask))
            old = sums.get(len(found))
            sums[len(found)] = (
                new
                if old is None
                else [(a + c, b + d) for (a, b), (c, d) in zip(old, new, strict=True)]
            )
    return {count: pooled_prior(pooled, 2) for count, pooled in sums.items()}


# ---- the decision


def _scores(
    weights: Path | None, held: Sequence[Place], seed: int, device: str, report: Any
) -> Any:
    """Return structure PSNR, dB, of whole repairs of the places that were held back."""
    options = RepairOptions(texture="smooth", gate="off", views=1)
    found: list[float] = []
    for number, place in enumerate(held):
        for fraction in FRACTIONS:
            report(len(found) / (len(held) * len(FRACTIONS)))
            rng = np.random.default_rng((seed, 2, number, round(1000 * fraction)))
            window = _window(place, (fraction, fraction), rng)
            method = FlowInpaintMethod(weights)
            result = method.repair(window, options, device, no_progress).result
            truth = place.images[2].astype(np.float32)
            repaired = np.where(window.mask, result, truth)
            span = data_range(place.images[2])
            found.append(score(repaired, truth, window.mask, span).structure_psnr)
    return np.array(found)
