"""The shape of core: unique class names, no import circles, short functions, small folders, no engine, no use case."""

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "mlops_core"
FILES = sorted(CORE.rglob("*.py"))
TEXTS = sorted(path for path in CORE.rglob("*") if path.suffix in {".py", ".template", ".css", ".js"})
MAX_MODULES = 15
MAX_CODE_LINES = 50
ENGINES = re.compile(r"\b(sagemaker|aws|s3|azure|azureml|boto3)\b", re.IGNORECASE)
URL_SCHEMES = CORE / "runners" / "remote" / "object_store.py"
"""The only module that may name URL schemes of object stores."""


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path):
    parts = path.relative_to(path.parents[len(path.relative_to(ROOT).parts) - 1]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree, modules):
    """Return the modules of core that a file imports anywhere: at the top, for type checking, in a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in modules:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                names.add(submodule if submodule in modules else node.module)
    return names


def find_circle(graph):
    """Return modules that import each other in a circle, or None."""
    state, path = {}, []

    def visit(name):
        state[name] = "open"
        path.append(name)
        for target in sorted(graph[name]):
            if state.get(target) == "open":
                return [*path[path.index(target) :], target]
            circle = visit(target) if target not in state else None
            if circle:
                return circle
        state[name] = "done"
        path.pop()
        return None

    for name in sorted(graph):
        circle = visit(name) if name not in state else None
        if circle:
            return circle
    return None


def code_lines(function, text):
    """Return the number of lines of a function with code on them: no docstring, comment or blank line."""
    body = function.body
    is_documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    docstring = range(body[0].lineno, body[0].end_lineno + 1) if is_documented else range(0)
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines & set(range(function.lineno, function.end_lineno + 1)) - set(docstring))


def test_circle_finder_finds_a_circle():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_code_lines_leave_out_docstrings_comments_and_blank_lines():
    text = 'def function():\n    """Do it.\n\n    Twice.\n    """\n    # why\n\n    return (\n        1\n    )\n'
    assert code_lines(ast.parse(text).body[0], text) == 4


def test_class_names_are_unique_in_core():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_files_of_core_do_not_import_each_other_in_a_circle():
    modules = {module_name(path): parsed(path) for path in FILES}
    assert find_circle({name: imported_modules(tree, modules) for name, tree in modules.items()}) is None


def test_folders_hold_at_most_fifteen_modules():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in FILES)
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


@pytest.mark.parametrize("folder", sorted({path.relative_to(CORE).parts[0] for path in FILES}))
def test_functions_have_at_most_fifty_lines_of_code(folder):
    long = {}
    for path in FILES:
        if path.relative_to(CORE).parts[0] != folder:
            continue
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = code_lines(node, text) if node.end_lineno - node.lineno >= MAX_CODE_LINES else 0
                if count > MAX_CODE_LINES:
                    long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = count
    assert long == {}


def test_core_names_no_engine():
    mentions = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = {match.group(1) for match in ENGINES.finditer(line)}
            if path == URL_SCHEMES:
                words = {match.group(1) for match in ENGINES.finditer(re.sub(r"\b\w+://", "", line))}
            if words:
                mentions.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert mentions == []


def test_core_names_no_shipped_plugin_and_no_use_case():
    names = {entry.name for entry in entry_points(group="mlops.usecases") if entry.value.split(".")[0] in _shipped()}
    assert names
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names | _shipped())))})\b")
    mentions = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert mentions == []


def _shipped():
    """Return the packages of the plugins in this repository."""
    return {path.parent.name for path in (ROOT / "plugins").glob("*/mlops_*/__init__.py")}
