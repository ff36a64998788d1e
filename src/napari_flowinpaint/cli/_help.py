"""The texts of ``--help``. A line with a lone backspace keeps the lines below it as they are."""

ALL = """\
Repair damaged sections of volume electron microscopy stacks.

\b
Examples:
  flowinpaint demo
  flowinpaint detect stack.zarr --output damage.zarr --report flagged.csv
  flowinpaint repair stack.zarr --mask damage.zarr --in-place
  flowinpaint repair stack.tif --mask damage.tif --output repaired.zarr
  flowinpaint history stack.zarr
  flowinpaint revert stack.zarr --sections 3

Run 'flowinpaint COMMAND --help' for details.
"""

REPAIR = """\
Replace the damaged pixels of a stack, guided by the neighbouring sections.

STACK is repaired in place (OME-Zarr or zarr on a local disk: journalled, marked in
labels/synthetic, revertible; of a TIFF or another file, which stays as it is, the repairs are kept
beside it), or a repaired copy is written to a new OME-Zarr of the same shape and dtype. Damage
that no usable neighbour shows is reported and left as it is.
Sections are planned, then repaired into a staging folder, then written; after an interruption,
the same command continues where it stopped.

\b
Examples:
  flowinpaint repair stack.zarr --mask damage.zarr --in-place
  flowinpaint repair stack.zarr --mask damage.zarr --sections 3,7-9 --in-place
  flowinpaint repair stack.tif --mask damage.tif --output repaired.zarr --report report.json
  flowinpaint repair a.h5:/volumes/raw --mask a.h5:/volumes/damage --output repaired.zarr
  flowinpaint repair stack.zarr --sections 12 --mask section12.png --in-place
  flowinpaint repair stack.zarr --mask damage.zarr --plan
  flowinpaint repair stack.zarr --mask damage.zarr --staging repairs --workers 4

\b
Exit codes:
  0    all that was asked was done
  1    some damage was refused, or some sections failed or stayed below --accept-above; all else
       was done
  2    the request or the data are wrong; nothing was written
  130  interrupted; sections written before that stay written
"""

DETECT = """\
Find damaged sections and write their masks, for a person to look at and for 'repair'.

Every section is compared with its neighbours. It finds missing, copied and misaligned
sections, missing regions, holes, folds, cracks, dark and bright debris, staining clouds, blur, and
noise. After an interruption, the same command continues where it stopped.

\b
Examples:
  flowinpaint detect stack.zarr --output damage.zarr --report flagged.csv
  flowinpaint detect stack.tif --output damage.zarr --sections 100-199 --kinds fold,crack
  flowinpaint repair stack.zarr --mask damage.zarr --in-place

\b
Exit codes:
  0    all sections were searched, whether damage was found or not
  1    some sections could not be read; all others were searched
  2    the request or the data are wrong; nothing was written
  130  interrupted; the same command continues where it stopped
"""

REVERT = """\
Restore the original pixels of repaired sections, byte for byte.

Without --sections every repair in STACK is undone. Pixels that another program has changed since
are not overwritten unless --force is given.

\b
Examples:
  flowinpaint revert stack.zarr --sections 3
  flowinpaint revert stack.zarr
"""

RECOVER = """\
Finish what a crash interrupted.

A write or a revert that had begun is finished, or undone if it was being cancelled; lost marks of
synthetic pixels are restored. Every command that writes into STACK does this first; commands that
only read it show the stack as it will be, and change nothing.

\b
Example:
  flowinpaint recover stack.zarr
"""

HISTORY = """\
List the repairs that were written into a stack.

\b
Example:
  flowinpaint history stack.zarr
"""

ORIGINALS = """\
Write the original data, without any repair, to a new OME-Zarr, to deposit in EMPIAR for example.

The copy contains the microscope's pixels only: no repairs, no journal, no marks. STACK is not
changed.

\b
Example:
  flowinpaint originals stack.zarr --output raw.zarr
"""

DESCRIBE = """\
Describe what was repaired, for the methods section of a publication.

Lists sections, methods, share of synthetic pixels, predicted scores, versions and literature, as
Markdown (.md) or LaTeX (.tex); without --output it is printed. The figure (.png or .pdf) shows the
largest repairs: as acquired, as they are now, and which pixels are synthetic.

\b
Examples:
  flowinpaint describe stack.zarr
  flowinpaint describe stack.zarr --output repairs.tex --figure repairs.pdf
  flowinpaint describe stack.zarr --ro-crate
"""

BENCHMARK = """\
Compare methods on intact sections of a stack, damaged on purpose.

Scores are computed inside the masks only. Sections must be intact; if some are not, name the
intact ones with --sections. FID is computed if InceptionV3's weights are given.

\b
Examples:
  flowinpaint benchmark stack.zarr
  flowinpaint benchmark fibsem.tif --spacing 4 --fractions 0.3 --output table.md
  flowinpaint benchmark stack.zarr --methods mean,flow --figure stages.png
"""

TRAIN = """\
Train one of the networks on intact sections of your own stacks.

The weights with the best score on the held-out sections are kept; a log (.csv, .svg) and a
checkpoint to resume from (.state.safetensors) are saved beside them. Ctrl-C stops the training
and saves everything. Spacings above 1 imitate thicker sections and need an isotropic stack.

\b
Examples:
  flowinpaint train a.tif@0-15 --validate a.tif@16-19 --output mine.safetensors --minutes 60
  flowinpaint train fib.tif@@2-7 --output mine.safetensors --resume mine.state.safetensors

\b
The networks of the paper are trained in two stages, for 'repair --method flowinpaint-paper':
  flowinpaint train a.tif --network reference --output one.safetensors
  flowinpaint train a.tif --network inpainting --refined one.safetensors --output two.safetensors

\b
The network for sections with one neighbour starts from the joint network:
  flowinpaint train a.tif --network one-neighbour --start joint.safetensors --output one.safetensors
"""

ADAPT = """\
Adapt the released weights to one stack, using its own intact sections.

First it learns how much each hypothesis counts, then, in the time that is left, it trains the
network. Damage that was flagged or painted, or that --mask shows, is left out. Some sections are
held back: they are repaired with and without the new weights, which are kept only if they repair
better. Without --output the weights are written beside STACK, and repairs of STACK use them from
then on. Ctrl-C keeps what the network has learned; the same command continues from there.

\b
Examples:
  flowinpaint adapt stack.zarr
  flowinpaint adapt stack.tif --mask damage.zarr --minutes 5
  flowinpaint adapt stack.tif --output mine.safetensors
"""

DEMO = """\
Damage a synthetic stack in several ways, repair it, score the repairs and show them in napari.

Without a display, napari runs offscreen (this needs Xvfb) and screenshots are saved beside the
sample.

\b
Examples:
  flowinpaint demo
  flowinpaint demo --folder demo --no-window
"""
