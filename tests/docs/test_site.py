"""The documentation site: its pages, their links, and the names in the API reference."""

import importlib
import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site():
    """The script that builds the site, as a module."""
    spec = importlib.util.spec_from_file_location("site_build", DOCS / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ["mlops_core", "mlops_core.runners", "mlops_core.testing"])
def test_every_public_name_is_in_the_reference(package):
    pages = [page.read_text() for page in (DOCS / "reference").glob("*.md")]
    pages = [page for page in pages if f".. currentmodule:: {package}\n" in page]
    names = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", "\n".join(pages), re.MULTILINE)
    assert sorted(names) == sorted(importlib.import_module(package).__all__), "run: make docs"


def test_the_reference_is_what_the_code_says():
    pages = runpy.run_path(str(DOCS / "generate.py"))["reference_pages"]()
    assert {page.name: page.read_text() for page in (DOCS / "reference").glob("*.md")} == pages, "run: make docs"


def test_every_page_of_docs_is_in_the_navigation(site):
    chapters = {f"{chapter}.md" for chapter in site.CHAPTERS}
    top = {name for name in site.pages().values() if "/" not in name}
    assert top - chapters == {"index.md"}


def test_links_between_pages_are_rewritten_for_the_site(site):
    page = DOCS / "running.md"
    text = "[a](cli.md#plan) [b](../README.md) [c](../plugins/aed/README.md) [d](../Makefile) [e](https://x.org/y.md)"
    assert site.with_site_links(text, page, site.pages()) == (
        "[a](cli.md#plan) [b](index.md) [c](use_cases/aed.md) d [e](https://x.org/y.md)"
    )


def test_a_link_to_a_missing_file_is_refused(site):
    with pytest.raises(site.BrokenLinkError, match=r"docs/running.md: no file nowhere.md"):
        site.with_site_links("[a](nowhere.md)", DOCS / "running.md", site.pages())


def test_every_link_of_every_page_leads_somewhere(site, tmp_path):
    site.gather(tmp_path)
    for page in tmp_path.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow_suite
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, DOCS / "site" / "build.py", tmp_path / "site"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "metrics.html").read_text()
    assert 'id="mlops_core.parse_condition"' in page
    for path in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'(?:src="|<link [^>]*href="|url\()(https?://[^")]+)', path.read_text())
        assert not loaded, f"{path.name}: {loaded}"
    styles = "".join(path.read_text() for path in (tmp_path / "site" / "_static").rglob("*.css"))
    assert not re.findall(r"@import|url\(['\"]?https?:", styles)
