"""The documentation is true to the code where a machine can tell: generated pages, links, names of states."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from swarmhub.controller.model import MemberState

REPOSITORY = Path(__file__).resolve().parents[3]
DOCS = REPOSITORY / "docs"
PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *DOCS.rglob("*.md")])
GENERATED = {"configuration.md", "commands.md", "agent-settings.md"}

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def anchors(page: Path) -> set[str]:
    """What a heading of the page is linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


def test_the_generated_pages_are_up_to_date() -> None:
    result = generate("--check")
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"


def test_a_stale_or_missing_page_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    assert generate("--directory", str(tmp_path)).returncode == 0
    assert {page.name for page in tmp_path.iterdir()} == GENERATED
    (tmp_path / "commands.md").write_text("old")
    (tmp_path / "configuration.md").unlink()

    result = generate("--check", "--directory", str(tmp_path))

    assert result.returncode == 1
    assert set(re.findall(r"^\S+\.md", result.stdout, flags=re.MULTILINE)) == {
        "commands.md",
        "configuration.md",
    }
    assert (tmp_path / "commands.md").read_text() == "old"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_to_our_own_pages_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, `with` code\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[good](there.md#a-heading-with-code) [far](https://example.org/x) [no file](gone.md)\n"
        "[no heading](there.md#other) ![no picture](gone.svg)\n```\n[not a link](gone.md)\n```\n"
    )
    assert broken_links(page) == ["gone.md", "there.md#other", "gone.svg"]


def test_every_page_is_reached_from_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text())}
    assert {page for page in DOCS.rglob("*.md") if page != index} - linked == set()


def test_every_state_of_a_node_is_explained_to_the_operator() -> None:
    page = (DOCS / "how-to" / "see-what-is-happening.md").read_text()
    explained = re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)
    assert sorted(explained) == sorted(state.value for state in MemberState)


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda picture: picture.name)
def test_pictures_are_well_formed_and_say_what_they_show(picture: Path) -> None:
    root = ET.parse(picture).getroot()  # our own file
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{namespace}svg"
    assert root.findtext(f"{namespace}title")
    assert root.findtext(f"{namespace}desc")
