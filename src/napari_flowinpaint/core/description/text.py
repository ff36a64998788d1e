"""The methods section of a publication: a paragraph, a table and the literature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .describe import Description, RepairedSection

_CHENG = (
    "Cheng Y, He B, Zhang F, Han R. Serial section microscopy image inpainting guided by axial "
    "optical flow. Proceedings of the 32nd ACM International Conference on Multimedia, 2024. "
    "doi:10.1145/3664647.3681023"
)
_GONZALEZ = (
    "González-Ruiz V, García-Ortiz JP, Fernández-Fernández MR, Fernández JJ. Optical flow driven "
    "interpolation for isotropic FIB-SEM reconstructions. Computer Methods and Programs in "
    "Biomedicine 221, 2022, 106856"
)
_FOLDS = "Learning to restore ssTEM images from deformation and corruption. ECCV workshops, 2020"
_CUI = (
    "Cui Y, Liu P, Song B, Zhao L, Ma Y, Chen L. Reconstruction of large-scale missing data in "
    "remote sensing images using Extend-GAN. IEEE Geoscience and Remote Sensing Letters, 2024. "
    "doi:10.1109/LGRS.2023.3317898"
)
_MASTO = (
    "Masto. Deep Learning for Bragg Coherent Diffraction Imaging: detector gap inpainting and "
    "phase retrieval. Thesis"
)
_GONG = (
    "Gong J, Li S, Chen S, Nie L, Cheng X, Zhang Z, Yu W. Image inpainting based on interactive "
    "separation network and progressive reconstruction algorithm. IEEE Access 10, 2022. "
    "doi:10.1109/ACCESS.2022.3186009"
)
#: What a method does, and whose ideas it uses.
_METHODS = {
    "flow": (
        "the section was interpolated between the nearest intact sections along the optical flow, "
        "registered to its own intact pixels, and the predictions were fused",
        (_CHENG, _GONZALEZ),
    ),
    "flowinpaint": (
        "the section was interpolated between the nearest intact sections along the optical flow, "
        "registered to its own intact pixels, and completed by a network",
        (_CHENG, _GONZALEZ),
    ),
    "flowinpaint-paper": (
        "the networks of FlowInpaint: interpolation along the axial optical flow, a refined "
        "reference, and inpainting guided by it",
        (_CHENG,),
    ),
    "one_neighbour": (
        "the only usable neighbour was registered to the section's own intact pixels by a network, "
        "which completed the section over it",
        (_CUI,),
    ),
    "single_section": (
        "small damage was continued from the section itself by a network, without neighbours; what "
        "is under it is not known",
        (_GONG,),
    ),
    "gap_patches": (
        "gaps of an isotropic volume were filled by a network in overlapping patches across them",
        (_MASTO,),
    ),
    "unfold": (
        "tissue that a fold had displaced was moved back, and what the fold hid was filled from "
        "the neighbouring sections",
        (_FOLDS, _CHENG),
    ),
    "unfold-paper": (
        "networks that interpolate, unfold and fuse sections with support film folds",
        (_FOLDS,),
    ),
}
_PROGRAM = "napari-flowinpaint"
_COLUMNS = (
    "section",
    "method",
    "synthetic pixels",
    "share",
    "displaced pixels",
    "guided by",
    "expected structure PSNR",
    "expected SSIM",
)
_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "–": "--",
}


def as_markdown(description: Description) -> str:
    """Return the methods section in Markdown."""
    blocks = [f"# Repaired sections of {_plain(description.name)}", *_paragraphs(description)]
    if description.sections:
        rows = [_COLUMNS, *map(_row(description), description.sections)]
        lines = ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]
        lines.insert(1, "|" + " --- |" * len(_COLUMNS))
        blocks.append("\n".join(lines))
        blocks += _flagged(description)
        listed = [f"{n}. {text}." for n, text in enumerate(literature(description), start=1)]
        if listed:
            blocks.append("\n".join(["## Literature", "", *listed]))
    return "\n\n".join(blocks) + "\n"


def as_latex(description: Description) -> str:
    """Return the methods section in LaTeX, to be input into a document."""
    blocks = [
        rf"\subsection*{{Repaired sections of {_tex(description.name)}}}",
        *map(_tex, _paragraphs(description)),
    ]
    if description.sections:
        rows = [_COLUMNS, *map(_row(description), description.sections)]
        lines = [" & ".join(map(_tex, row)) + r" \\" for row in rows]
        lines.insert(1, r"\hline")
        table = [r"\begin{tabular}{rlrrrlrr}", *lines, r"\end{tabular}"]
        blocks.append("\n".join(table))
        blocks += map(_tex, _flagged(description))
        listed = [rf"\item {_tex(text)}." for text in literature(description)]
        if listed:
            blocks.append("\n".join([r"\begin{enumerate}", *listed, r"\end{enumerate}"]))
    return "\n\n".join(blocks) + "\n"


def literature(description: Description) -> tuple[str, ...]:
    """Return whose ideas the methods use, in the order in which they are named."""
    found = (work for method in description.methods for work in _METHODS.get(method, ("", ()))[1])
    return tuple(dict.fromkeys(found))


def _paragraphs(description: Description) -> list[str]:
    """Return what is said before the table, in plain text."""
    depth, height, width = description.shape
    size = f"{height:,} × {width:,} pixels"
    if description.voxel_size is not None:
        voxel = " × ".join(f"{n:g}" for n in description.voxel_size)
        size += f", voxels of {voxel} nm (z, y, x)"
    count = len(description.sections)
    unknown = _unknown(description)
    if not count and unknown:
        return [
            f"The journal of this stack ({depth:,} sections of {size}) has no repair.",
            *unknown,
        ]
    if not count:
        return [f"No section of this stack ({depth:,} sections of {size}) was repaired."]
    shares = [section.synthetic / description.area for section in description.sections]
    versions = ", ".join(description.versions)
    share = f"a repaired section on average (at most {max(shares):.2%})"
    first = (
        f"Of {depth:,} sections of {size}, {count:,} ({count / depth:.1%}) "
        f"{'was' if count == 1 else 'were'} damaged and "
        f"repaired with {_PROGRAM} {versions}. {description.synthetic:,} pixels were replaced: "
        f"{description.synthetic / (depth * description.area):.3%} of the stack, and "
        f"{sum(shares) / count:.2%} of {'that section' if count == 1 else share}."
    )
    if description.displaced:
        first += (
            f" {description.displaced:,} further pixels are the sections' own, moved back to where "
            "the tissue was before it folded."
        )
    works = literature(description)
    told = []
    for method, used in description.methods.items():
        what, ideas = _METHODS.get(method, ("", ()))
        cited = ", ".join(str(works.index(work) + 1) for work in ideas)
        words = f"{method} ({used:,} section{'s' * (used > 1)})"
        told.append(words + (f": {what} [{cited}]" if what else ""))
    second = f"Methods: {'; '.join(told)}."
    if description.weights:
        second += f" SHA-256 of the weights: {', '.join(description.weights)}."
    return [first, second, _quality(description), _kept(description), *unknown]


def _unknown(description: Description) -> list[str]:
    """Return what is said of synthetic pixels of which nothing else is known."""
    if not description.unknown:
        return []
    one = len(description.unknown) == 1
    where = ", ".join(map(str, description.unknown))
    return [
        f"Section{'' if one else 's'} {where} {'has' if one else 'have'} further pixels that are "
        "marked as synthetic in labels/synthetic: the journal has no record of these repairs."
    ]


def _kept(description: Description) -> str:
    """Return what was not changed, and how to tell what was."""
    zones = " and the zones around folds" if description.displaced else ""
    return (
        f"Pixels outside the masks{zones} are unchanged. Synthetic pixels are marked in the label "
        "image labels/synthetic, and the original pixels are kept with the data."
    )


def _quality(description: Description) -> str:
    """Return what is known of how good the repairs are."""
    found = [section.expected("structure") for section in description.sections]
    known = [value for value in found if value is not None]
    if not known:
        return "The quality of the repairs was not predicted."
    if len(known) == len(found) == 1:
        return f"The predicted structure PSNR of the repair is {known[0]:.1f} dB."
    return (
        f"The predicted structure PSNR of the repairs is {sum(known) / len(known):.1f} dB on "
        f"average ({min(known):.1f} to {max(known):.1f} dB, {len(known):,} "
        f"section{'s' * (len(known) > 1)})."
    )


def _flagged(description: Description) -> list[str]:
    """Return which repairs are doubtful, and why."""
    told = [f"section {s.z}: {'; '.join(s.flags)}" for s in description.sections if s.flags]
    return [f"Doubtful repairs that were made anyway: {'. '.join(told)}."] if told else []


def _row(description: Description) -> Callable[[RepairedSection], Sequence[str]]:
    """Return what makes the row of a section."""

    def row(section: RepairedSection) -> Sequence[str]:
        structure, ssim = section.expected("structure"), section.expected("ssim")
        return (
            str(section.z),
            " + ".join(section.methods),
            f"{section.synthetic:,}",
            f"{section.synthetic / description.area:.2%}",
            f"{section.displaced:,}" if section.displaced else "–",
            ", ".join(map(str, section.neighbours)) or "–",
            "–" if structure is None else f"{structure:.1f} dB",
            "–" if ssim is None else f"{ssim:.2f}",
        )

    return row


def _plain(text: str) -> str:
    """Return text that cannot be taken for Markdown."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text.replace("\n", " "))
