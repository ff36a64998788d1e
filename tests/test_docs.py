"""What README and documentation say: commands and examples run, tables match the code."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import napari_flowinpaint
from napari_flowinpaint.cli import run
from napari_flowinpaint.core import methods
from napari_flowinpaint.core.simulation import sample

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = Path(napari_flowinpaint.__file__).parent
#: The pictures have to stay small: everybody who clones the repository gets them.
LARGEST_PICTURE, LARGEST_FILM = 300_000, 3_000_000

if not (ROOT / "mkdocs.yml").is_file():
    pytest.skip("the documentation is not part of this installation", allow_module_level=True)


def code_blocks(page: Path, language: str) -> dict[str, str]:
    """Return the fenced blocks of a page in one language, by title or number."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf'^```{language}(?: title="(.+?)")?\n(.*?)^```', text, re.M | re.S)
    return {title or str(number): code for number, (title, code) in enumerate(found)}


def cells(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading."""
    _, _, below = page.read_text(encoding="utf-8").partition(f"{heading}\n")
    table = re.search(r"^\|.*?\n(?!\|)", below, re.M | re.S)
    assert table is not None, f"{page.name} has no table below {heading!r}"
    rows = table[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def in_code_type(text: str) -> list[str]:
    """Return what is written between backticks."""
    return re.findall(r"`([^`]+)`", text)


def tree(folder: Path, indent: str = "") -> str:
    """Return what is in a folder, as the documentation shows it: chunks are left out."""
    lines = []
    for path in sorted(folder.iterdir()):
        lines.append(f"{indent}{path.name}{'/' if path.is_dir() else ''}\n")
        if path.is_dir() and path.name != "c":
            lines.append(tree(path, indent + "  "))
    return "".join(lines)


@pytest.fixture(scope="module")
def readme_run(tmp_path_factory):
    """Run the commands of the README; return the folder, the output and what is in the store.

    In this process, which has imported torch, and on a demo of small sections.
    """
    folder, output = tmp_path_factory.mktemp("readme"), io.StringIO()
    (commands,) = code_blocks(ROOT / "README.md", "bash").values()
    made, small = sample.damaged_sample, sample.SampleConfig(shape=(24, 192, 192))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.chdir(folder)
        patch.setattr(sample, "damaged_sample", lambda: made(small))
        for command in commands.splitlines():
            program, *arguments = shlex.split(command)
            assert program == "flowinpaint"
            assert run(arguments) == 0, command
    return folder, output.getvalue(), tree(folder / "demo" / "before.zarr")


# ---- commands


def test_readme_commands_do_what_they_say(readme_run):
    folder, output, _ = readme_run
    assert "section 1: repair 1 undone, original pixels are back" in output
    assert "written: repaired.zarr" in output
    report = json.loads((folder / "report.json").read_text())
    assert [record["section"] for record in report["sections"]] == [7, 10]
    assert report["repaired"] == 2


def test_the_tree_in_the_documentation_is_that_of_a_real_store(readme_run):
    assert code_blocks(DOCS / "files.md", "text")["before.zarr"] == readme_run[2]


def test_python_examples_run(readme_run):
    pages = {}
    for page in ("README.md", "docs/python-api.md", "docs/files.md", "docs/batch.md"):
        blocks = code_blocks(ROOT / page, "python")
        blocks.pop("cluster.py", None)  # needs Slurm
        assert blocks
        pages[page] = list(blocks.values())
    # each with names of its own; one process, since torch takes seconds to import
    script = (
        f"for page, blocks in {pages!r}.items():\n"
        "    for code in blocks:\n"
        "        exec(compile(code, page, 'exec'), {'__name__': '__main__'})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        cwd=readme_run[0],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_key_of_the_report_is_documented(readme_run):
    report = json.loads((readme_run[0] / "report.json").read_text())
    section = report["sections"][0]
    page = DOCS / "command-line.md"
    for heading, record in (
        ("## The report", report),
        ("Each section:", section),
        ("Each window:", section["windows"][0]),
    ):
        documented = [key for row in cells(page, heading) for key in in_code_type(row[0])]
        assert sorted(documented) == sorted(record), heading
    scores = [
        key
        for row in cells(DOCS / "method.md", "## What it reports")
        for key in in_code_type(row[0])
    ]
    assert sorted(scores) == sorted(section["windows"][0]["scores"])


def test_every_expected_score_is_documented():
    told = napari_flowinpaint.Quality(20, 0.5, 18, 0.4, 1, 3, 1).scores()
    rows = cells(DOCS / "quality.md", "## Scores")
    assert sorted(key for row in rows for key in in_code_type(row[0])) == sorted(told)


def test_every_key_of_the_journal_is_documented(readme_run):
    (entry,) = readme_run[0].glob("demo/before.zarr/0/.flowinpaint/entries/*-z4.committed")
    record = json.loads((entry / "entry.json").read_text())
    page = DOCS / "files.md"
    documented = [key for row in cells(page, "### `entry.json`") for key in in_code_type(row[0])]
    assert sorted(documented) == sorted(record)
    documented = [key for row in cells(page, "`provenance`:") for key in in_code_type(row[0])]
    assert sorted(documented) == sorted(record["provenance"])


def test_every_option_is_documented():
    import typer

    from napari_flowinpaint.cli import app

    commands = typer.main.get_command(app).commands
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    for name, command in commands.items():
        shown = [p for p in command.params if not getattr(p, "hidden", False)]
        known = {o for p in shown for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
        rows = re.findall(r"^\| (`--.*?) \|", sections[name], re.M)
        assert {option for row in rows for option in in_code_type(row)} == known - {"--help"}, name


def test_defaults_are_documented():
    import typer

    from napari_flowinpaint.cli import app

    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    compared = 0
    for name, command in typer.main.get_command(app).commands.items():
        for option, default in re.findall(
            r"^\| `(--[\w-]+)` \| `([^`-]+)` \|", sections[name], re.M
        ):
            (parameter,) = (p for p in command.params if option in p.opts)
            assert str(parameter.default) == default, f"{name} {option}"
            compared += 1
    assert compared >= 8


# ---- adding a method


def test_the_example_of_a_method_works_and_passes_its_tests(tmp_path, monkeypatch):
    blocks = code_blocks(DOCS / "add-a-method.md", "python")
    path = tmp_path / "nearest.py"
    path.write_text(blocks["nearest.py"], encoding="utf-8")
    name = f"{methods.__name__}.nearest"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)
    table: dict[str, dict[str, str]] = {}
    exec(blocks["the table"], table)
    assert set(methods._METHODS) | {"nearest"} == set(table["_METHODS"])
    monkeypatch.setattr(methods, "_METHODS", table["_METHODS"])

    tests: dict[str, object] = {}
    exec(blocks["test_nearest.py"], tests)
    run = [test() for key, test in tests.items() if key.startswith("test_") and callable(test)]
    assert len(run) == 3


def test_the_members_of_a_method_are_documented():
    members = set(vars(methods.Method)["__annotations__"]) | {"halo", "repair"}
    rows = cells(DOCS / "add-a-method.md", "## 1. The contract")
    assert {in_code_type(row[0])[0].partition("(")[0] for row in rows} == members


# ---- words that have to be those of the code


def test_messages_in_troubleshooting_are_those_of_the_code():
    files = [*SOURCE.rglob("*.py"), *(ROOT / "scripts").glob("*.sh")]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # implicit concatenation
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", page, re.M)
    assert len(messages) > 30
    for message in messages:
        for part in filter(None, (part.strip() for part in message.split("…"))):
            assert part in source, f"no message says {part!r}"


def test_shortcuts_are_those_of_the_docks():
    bound = set()
    for path in (*(SOURCE / "widgets").rglob("*.py"), SOURCE / "viewer/state/masks.py"):
        text = path.read_text(encoding="utf-8")
        bound |= set(re.findall(r'\.bind(?:_key)?\(\s*"([^"]+)"', text))
    assert len(bound) == 13
    rows = cells(DOCS / "user-guide.md", "## Shortcuts")
    ours = {
        key.replace("+", "-")
        for row in rows
        if "napari's own" not in row[1]
        for key in in_code_type(row[0])
    }
    assert ours == {key.replace("+", "-") for key in bound}


def test_buttons_that_the_user_guide_names_exist():
    text = "\n".join(p.read_text(encoding="utf-8") for p in (SOURCE / "widgets").rglob("*.py"))
    guide = (DOCS / "user-guide.md").read_text(encoding="utf-8")
    buttons = [b for row in re.findall(r"^\| (\*\*.+?) \|", guide, re.M) for b in row.split(", ")]
    assert len(buttons) == 31
    for button in buttons:
        words = button.strip("*")
        made = [f'QPushButton("{words}")', f'super().__init__("{words}")']
        if " N " in words:
            made = [f"*{words}*"]  # one that names a section is set later
        assert any(code in text for code in made), button


def test_versions_and_citations_agree():
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == napari_flowinpaint.__version__
    assert f"## [{napari_flowinpaint.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    for page in (ROOT / "README.md", DOCS / "method.md"):
        text = " ".join(page.read_text(encoding="utf-8").split())
        for reference in citation["references"]:
            assert reference["title"] in text, page.name
            assert reference.get("doi", "") in text, page.name


# ---- pages


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text):
        if not re.match(r"https://", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pictures_are_used_and_small():
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    pictures = list((DOCS / "images").iterdir())
    assert pictures
    for picture in pictures:
        assert f"images/{picture.name})" in text, f"{picture.name} is shown nowhere"
        limit = LARGEST_FILM if picture.suffix == ".gif" else LARGEST_PICTURE
        assert picture.stat().st_size <= limit, picture.name


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="mkdocs builds the documentation; it is in the group dev")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_public_name_is_in_the_api_pages(site):
    page = (site / "python-api" / "index.html").read_text(encoding="utf-8")
    for name in napari_flowinpaint.__all__:
        place = f'id="napari_flowinpaint.{name}"'
        assert place in page or name == "__version__", name
    assert not re.search(r":(class|func|meth|mod):`", page), "a Sphinx role is shown as it is"


def test_pages_load_nothing_from_the_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img)[^>]+src="(https?:[^"]+)', text)
        loaded += re.findall(
            r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)', text
        )
        assert not loaded, page
