"""The plugin's own source: its files, what they import, and which foreign packages a step's code needs."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlops_core.testing.checks import NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ImportStatement: TypeAlias = ast.Import | ast.ImportFrom
_KNOWN_TO_CORE = frozenset(
    {"mlops_core", "pydantic", "pydantic_core", "yaml", "pluggy", "click", "rich", "typing_extensions"}
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def package_of(target: str) -> str:
    """Return the top-level package of ``package.module:object``."""
    return target.partition(":")[0].partition(".")[0]


def package_folder(package: str) -> Path:
    """Return the folder of a top-level package.

    Raises:
        NotApplicableError: it is a single module.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotApplicableError("the plugin is not a package")
    return Path(next(iter(spec.submodule_search_locations)))


def sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield each Python file of a package with its syntax tree."""
    for path in sorted(package_folder(package).rglob("*.py")):
        yield path, ast.parse(path.read_bytes(), filename=str(path))


def import_statements(tree: ast.AST, *, with_functions: bool) -> Iterator[ImportStatement]:
    """Yield the import statements that are executed, without those for type checkers.

    Args:
        tree: of a module.
        with_functions: also those inside functions.
    """
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif with_functions or not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def foreign_distributions(imported: Iterable[str]) -> tuple[str, ...]:
    """Return the top-level names that belong to a distribution other than core and plugins."""
    from mlops_core.use_cases.discovery import discover_use_cases

    plugins = {package_of(item.target) for item in discover_use_cases()}
    installed = importlib.metadata.packages_distributions()
    return tuple(sorted(name for name in imported if name in installed and name not in plugins | _KNOWN_TO_CORE))


def foreign_packages(module: str) -> set[str]:
    """Return the top-level packages that `module` needs, itself and through the modules of its own package.

    Python's own and those that core needs anyway are left out. Imports inside functions count in `module` itself
    only: what another module imports in a function, such as a predictor, is not needed by a step that imports it.
    """
    package = package_of(module)
    root = package_folder(package).parent
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if name in seen or path is None:
            continue
        seen.add(name)
        is_package = path.name == "__init__.py"
        for node in import_statements(ast.parse(path.read_bytes()), with_functions=name == module):
            for imported in _names(node, name, is_package=is_package):
                if package_of(imported) == package:
                    waiting.append(imported)
                else:
                    found.add(package_of(imported))
    return found - set(sys.stdlib_module_names) - _KNOWN_TO_CORE


def environment_readings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each read of the environment; statements that only set a variable are not reads."""
    nodes = list(ast.walk(tree))
    set_only = {id(found) for node in nodes if (found := _environment_that_is_set(node)) is not None}
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv"):
                if id(node) not in set_only:
                    yield node.lineno, f"os.{node.attr}"


def _environment_that_is_set(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Assign(targets=[ast.Subscript() as item]) | ast.Delete(targets=[ast.Subscript() as item]):
            return item.value
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="setdefault" | "update" | "pop") as method)):
            return method.value
    return None


def _file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((item for item in (path.with_suffix(".py"), path / "__init__.py") if item.is_file()), None)


def _names(node: ImportStatement, module: str, *, is_package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parents = module.split(".") if is_package else module.split(".")[:-1]
        base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
    yield base
    yield from (f"{base}.{alias.name}" for alias in node.names)


def forgiving_lines(folder: Path) -> list[tuple[Path, int]]:
    """Return (file, line) of the first and last statement of each block whose errors, of any kind, are swallowed.

    That is a ``try`` with a handler of all errors that raises nothing, or a ``with contextlib.suppress(...)`` of them.
    """
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Try(body=body, handlers=handlers) if any(map(_swallows, handlers)):
                    pass
                case ast.With(body=body, items=items) if any(_suppresses(item.context_expr) for item in items):
                    pass
                case _:
                    continue
            found += [(path, line) for line in dict.fromkeys((body[0].lineno, body[-1].lineno))]
    return found


_ANY_ERROR = frozenset({"Exception", "BaseException", "RuntimeError", "InjectedError"})


def _swallows(handler: ast.ExceptHandler) -> bool:
    if any(isinstance(node, ast.Raise) for statement in handler.body for node in ast.walk(statement)):
        return False
    return handler.type is None or _is_any_error(handler.type)


def _suppresses(expression: ast.expr) -> bool:
    match expression:
        case ast.Call(func=ast.Attribute(attr="suppress") | ast.Name(id="suppress"), args=arguments):
            return any(map(_is_any_error, arguments))
    return False


def _is_any_error(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Tuple):
        return any(map(_is_any_error, expression.elts))
    name = expression.id if isinstance(expression, ast.Name) else getattr(expression, "attr", "")
    return name in _ANY_ERROR
