"""Messages, help texts, docstrings, pages and names of tests are plain technical English.

Each habit below would surprise a reader of the Python documentation. The patterns are narrow: a false positive is worse
than a miss. In modules, docstrings, comments and texts are searched; in tests, docstrings and the names of functions.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THIS = Path(__file__)

HABITS = {
    r"\bis no (?!longer|more|less|such|other|way|need|reason|guarantee)\w+ (?:of|for|in)\b": "is not a",
    r"\bone a (?:core|line|step|file|run|clip|sample|class|row|fold|model|group|worker)\b": "one per core",
    r"\ba process a (?:step|file|clip|run)\b": "one process per step",
    r"\bgo(?:es|ing)? on with\b": "continue, resume",
    r"\b[Gg]o on where\b": "resume",
    r"\bstands? (?:on|beside|there|below|above|behind)\b": "is in, is next to, depends on",
    r"\bstands? in\b(?! for)": "is in",
    r"\b(?:is|are|was|were|be|been) told\b": "receives, is reported",
    r"\btells? what\b": "reports, shows",
    r"\bcures?\b": "fix",
    r"\bdata (?:are|were)\b": "data is",
    r"^(?:Of|At|To|By) (?:every|the|all|each|which)\b(?=[^.\n]*\.?\Z)": "an imperative verb or a noun",
    r"\bwhat is there\b": "the existing files, the content",
    r"\b(?:have|has|had) (?:somebody|someone|it) \w+ed\b": "let it, ask it to",
    r"\bwhoever\b": "the user, the caller",
    r"\b(?:that|which) came along\b": "was included",
    r"(?<!word )\bin words\b(?! if\b)": "as text",
    r"\blooked at\b": "checked, shown",
    r"\bof all that\b": "of everything",
    r"\b(?:keep|keeps|keeping) house\b": "clean up",
}
PATTERN = re.compile("|".join(f"(?P<h{number}>{habit})" for number, habit in enumerate(HABITS)), re.MULTILINE)
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile")]
PAGES += [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md"), *(ROOT / "benchmarks").glob("*.md")]
PAGES += [path for path in (ROOT / "entrypoints").iterdir() if path.is_file()]
PAGES += [path for folder in (ROOT / ".ci", ROOT / ".github") for path in folder.rglob("*") if path.is_file()]
PAGES += [*ROOT.glob("mlops_core/**/*.template"), *ROOT.glob("plugins/*/mlops_*/**/*.template")]
PAGES += [path for path in ROOT.glob("plugins/*/mlops_*/*.yaml") if path.stem.endswith(("config", "sign", "scene"))]


def modules():
    """Every Python file of the repository but this one."""
    folders = ("mlops_core", "plugins", "tests", "benchmarks", "entrypoints", "docs", ".ci")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != THIS)


def is_test(path):
    return "tests" in path.relative_to(ROOT).parts


def texts(path):
    """Yield line number and text of what people read in a file."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), start=1)
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and is_test(path):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
            yield getattr(node, "lineno", 1), getattr(node, "name", "").replace("_", " ")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and not is_test(path):
            yield node.lineno, node.value
    if not is_test(path):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string.lstrip("# ")


def habits(path):
    """Return the habits in a file, one line each."""
    lines = []
    for number, text in texts(path):
        for match in PATTERN.finditer(text):
            better = list(HABITS.values())[int(match.lastgroup[1:])]
            line = number + text.count("\n", 0, match.start())
            lines.append(f"{path.relative_to(ROOT)}:{line}: {match[0]!r}; better: {better}")
    return lines


def test_texts_of_python_files_are_plain_english():
    lines = [line for path in modules() for line in habits(path)]
    assert not lines, "\n".join(lines)


def test_pages_are_plain_english():
    lines = [line for path in PAGES for line in habits(path)]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "'x' is no name of a pipeline",
        "Steps at once (default: one a core)",
        "Go on where the run failed; it goes on with training",
        "each folder stands beside the others",
        "the observer is told what happens",
        "each with a cure",
        "the data are generated",
        "Of every random choice.",
        "replaces what is there",
        "have somebody approved it",
    ],
)
def test_a_habit_is_refused(text):
    assert PATTERN.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "there is no way of knowing",
        "this is no longer part of core",
        "metrics are computed of each class",
        "one of the files stands for all",
        "a data area of 3 rows",
        "the secure option",
    ],
)
def test_plain_english_is_not_refused(text):
    assert not PATTERN.search(text)
