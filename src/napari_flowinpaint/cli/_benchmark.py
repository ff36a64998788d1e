"""What ``flowinpaint benchmark`` does, once its options are parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, RepairRefused
from ._console import DONE, NOT_ALL_DONE, print_error, print_line, print_note, progress_bar
from ._parse import check_apart, check_file, parse_sections

if TYPE_CHECKING:
    from ..core.benchmark.table import BenchmarkTable
    from ..core.io.stack import Stack
    from ..core.methods import Method


def benchmark_stack(
    path: str,
    *,
    spacing: int,
    fractions: tuple[float, ...],
    methods: tuple[str, ...] | None,
    shapes: tuple[str, ...],
    sections: str | None,
    device: str,
    output: Path | None,
    figure: Path | None,
    ablations: Sequence[str],
    inception: Path | None,
    repeats: int,
    seed: int,
    neighbours: int,
    opening: Mapping[str, Any],
) -> int:
    """Run the benchmark, print its tables, draw its figure; return the exit code."""
    from ..core.benchmark.figure import figure_method
    from ..core.benchmark.run_benchmark import check_request, run_benchmark
    from ..core.device import resolve_device
    from ..core.open import open_stack

    extra = parse_ablations(ablations)
    names = check_request(methods, shapes, fractions, [label for label, _ in extra], neighbours)
    drawn = figure_method(names, extra)
    if figure is not None and drawn is None:
        raise InputError("--figure shows a repair, and --methods names peers only; add a method.")
    files = {"--output": output, "--figure": figure}
    _check_files(files)
    if device != "auto":
        device = resolve_device(device)
    stack = open_stack(path, **opening)
    for option, file in files.items():
        if file is not None:
            check_apart(file, option, path, *([stack.group_path] if stack.group_path else []))
    for message in stack.messages:
        print_note(message)
    common: dict[str, Any] = {
        "spacing": spacing,
        "sections": None if sections is None else parse_sections(sections, stack.shape[0]),
        "seed": seed,
        "neighbours": neighbours,
        "device": device,
    }
    with progress_bar("benchmark") as progress:
        table = run_benchmark(
            stack,
            fractions=fractions,
            methods=methods,
            shapes=shapes,
            extra=extra,
            inception=inception,
            repeats=repeats,
            progress=progress,
            **common,
        )
    _show_table(table, output)
    if figure is None or drawn is None:
        return DONE
    common |= {"fraction": fractions[len(fractions) // 2], "shape": shapes[0]}
    return _draw(stack, drawn, figure, common | {"method": dict(extra).get(drawn)})


def _check_files(files: Mapping[str, Path | None]) -> None:
    """Refuse files, by option, that cannot be written, before anything is computed."""
    for option, file in files.items():
        if file is not None:
            check_file(file, option)
    figure = files["--figure"]
    if figure is not None and figure.suffix.lower() != ".png":
        raise InputError(f"--figure {figure} must end in .png.")


def _show_table(table: BenchmarkTable, output: Path | None) -> None:
    """Print the tables, and write them where that was asked for."""
    for line in table.to_text().splitlines():
        print_line(line)
    if output is not None:
        output.write_text(table.to_markdown() + "\n", encoding="utf-8")
        print_line(f"written: {output}")


def _draw(stack: Stack, drawn: str, figure: Path, options: Mapping[str, Any]) -> int:
    """Draw the figure with the repair of the method ``drawn``; return the exit code."""
    from ..core.benchmark.figure import draw_figure

    try:
        draw_figure(stack, drawn, **options).save(figure, optimize=True)
    except RepairRefused as error:
        print_error(f"{figure} was not drawn: {error}")
        return NOT_ALL_DONE
    print_line(f"written: {figure}")
    return DONE


def parse_ablations(texts: Sequence[str]) -> list[tuple[str, Method]]:
    """Return the methods in ``LABEL=WEIGHTS.safetensors`` and the names of their rows.

    Raises
    ------
    InputError
        If one is written otherwise, or its file holds no network of the paper.
    """
    if not texts:
        return []
    from ..core.methods.paper import paper_method
    from ..core.networks.weights import read_info

    found = []
    for text in texts:
        label, _, name = text.partition("=")
        if not label.strip() or not name:
            raise InputError(
                f"--ablation '{text}' is not written LABEL=WEIGHTS.safetensors; write for example "
                "no-references=guided-gan.safetensors."
            )
        info = read_info(Path(name))  # now, not after an hour of other rows
        if info.architecture != "paper":
            raise InputError(
                f"--ablation {name} holds a network '{info.architecture}', not 'paper'; give "
                "weights of the inpainting stage."
            )
        found.append((label.strip(), paper_method(Path(name))))
    return found
