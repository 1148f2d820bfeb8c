"""Build the documentation site: ``make site``, or ``python docs/site/build.py [OUTPUT]`` (default ``build/site``).

The pages are the Markdown files of the repository: the README, docs/, and the README of each plugin. They are copied to
one folder, since Sphinx reads pages from one folder only, and links between them are rewritten. A link to a file that
does not exist is an error; a link to a file of the repository that is not a page becomes plain text. Warnings of Sphinx
are errors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?P<open>!?\[(?P<text>[^\]]*)\]\()(?P<target>(?!https?:|mailto:|#)[^)#\s]+)(?P<anchor>#[^)]*)?\)")
IMAGES = (".svg", ".png")
INDEX = """
```{{toctree}}
:hidden:
:maxdepth: 2

{pages}
```
"""
#: The order of the navigation; a page that does not exist yet is left out, and a page in no list is an error of Sphinx.
CHAPTERS = (
    "running",
    "trust",
    "configuration",
    "use_cases/index",
    "plugins",
    "contract_tests",
    "hooks",
    "runners",
    "ui",
    "observers",
    "serving",
    "deployments",
    "triggers",
    "tuning",
    "sagemaker",
    "azureml",
    "engines",
    "architecture",
    "reference/index",
    "cli",
    "decisions/index",
    "dependencies",
    "contributing",
    "security",
    "changelog",
)


class BrokenLinkError(Exception):
    """A page links to a file that does not exist."""


def pages() -> dict[Path, str]:
    """Return the pages of the site: path in the repository -> name on the site, both with their suffix."""
    named = {
        ROOT / "README.md": "index.md",
        ROOT / "CONTRIBUTING.md": "contributing.md",
        ROOT / "SECURITY.md": "security.md",
        ROOT / "CHANGELOG.md": "changelog.md",
    }
    for readme in sorted(ROOT.glob("plugins/*/README.md")):
        named[readme] = f"use_cases/{readme.parent.name}.md"
    for page in sorted((ROOT / "docs").rglob("*.md")):
        named[page] = page.relative_to(ROOT / "docs").as_posix()
    return named


def with_site_links(text: str, page: Path, names: dict[Path, str]) -> str:
    """Return the text of `page` with each link to a file rewritten to the place of that file on the site.

    Args:
        text: the Markdown of the page.
        page: its path in the repository.
        names: what `pages` returns.

    Raises:
        BrokenLinkError: a link names a file that does not exist.
    """

    def rewrite(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / link["target"]))
        if not target.exists():
            raise BrokenLinkError(f"{page.relative_to(ROOT)}: no file {link['target']}")
        folder = Path(names[page]).parent
        if target in names:
            return f"{link['open']}{os.path.relpath(names[target], folder)}{link['anchor'] or ''})"
        if target.suffix in IMAGES:
            return f"{link['open']}{os.path.relpath(f'images/{target.name}', folder)})"
        return link["text"]

    return LINK.sub(rewrite, text)


def gather(folder: Path) -> None:
    """Write every page of the site, with its images and the pages that only list others, to `folder`."""
    names = pages()
    for page, name in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(with_site_links(page.read_text(encoding="utf-8"), page, names), encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "images", folder / "images", dirs_exist_ok=True)
    shutil.copy(ROOT / "docs" / "site" / "conf.py", folder)
    _write_list(folder, "use_cases", "Use cases and engines")
    _write_list(folder, "decisions", "Decisions")
    chapters = [chapter for chapter in CHAPTERS if (folder / f"{chapter}.md").exists()]
    with (folder / "index.md").open("a", encoding="utf-8") as stream:
        stream.write(INDEX.format(pages="\n".join(chapters)))


def _write_list(folder: Path, name: str, title: str) -> None:
    listed = sorted(page.stem for page in (folder / name).glob("*.md"))
    (folder / name / "index.md").write_text(
        "\n".join([f"# {title}", "", "```{toctree}", ":maxdepth: 1", "", *listed, "```", ""]), encoding="utf-8"
    )


def main(output: Path) -> int:
    """Build the site into `output` and return Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            gather(Path(folder))
        except BrokenLinkError as error:
            return print(f"make site: {error}", file=sys.stderr) or 2  # noqa: T201  a script
        options = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--builder", "html"]
        command = [sys.executable, "-m", "sphinx", *options, "-d", f"{folder}/doctrees", folder, str(output)]
        return subprocess.run(command, check=False).returncode  # noqa: S603  our own command


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
