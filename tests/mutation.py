"""Mutation check: small faults in a module of core, and whether its unit tests notice them.

Usage: ``python tests/mutation.py [--target NAME ...] [--sample N] [--jobs N] [--goal SHARE]``

Each mutant is one changed node of a module's syntax tree: a comparison, a boundary, a negation, a constant, a removed
statement, swapped arguments. A forked process imports the changed module in place of the original and runs the module's
tests until one fails. No file is changed. A mutant survives when all tests pass; it is killed by a failing test, and by
tests that do not end within the time limit. The sample is the same in each run.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A module and the tests that must notice a fault in it."""

    module: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file of the module."""
        return ROOT / (self.module.replace(".", "/") + ".py")


TARGETS = {
    "conditions": Target(module="mlops_core.gates.judging", tests=("tests/core/test_gates.py",)),
    "metrics": Target(
        module="mlops_core.evaluation.metrics",
        tests=tuple(
            f"tests/core/test_{name}.py" for name in ("metrics", "intervals", "evaluation", "evaluation_layout")
        ),
    ),
    "evaluation_file": Target(
        module="mlops_core.evaluation.evaluation_file",
        tests=tuple(f"tests/core/test_{name}.py" for name in ("metrics", "evaluation", "evaluation_layout")),
    ),
    "proportions": Target(
        module="mlops_core.evaluation.proportions",
        tests=tuple(f"tests/core/test_{name}.py" for name in ("metrics", "intervals")),
    ),
    "registry": Target(module="mlops_core.workspace.registry", tests=("tests/core/test_registry.py",)),
    "lifecycle": Target(module="mlops_core.runners.lifecycle.run", tests=("tests/core/test_lifecycle.py",)),
    "judgement": Target(module="mlops_core.runners.lifecycle.judgement", tests=("tests/core/test_lifecycle.py",)),
    "registration": Target(
        module="mlops_core.runners.lifecycle.registration",
        tests=("tests/core/test_lifecycle.py", "tests/core/test_model_code.py"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault: the node at `index` of the tree, changed by the mutator's variant `variant`."""

    index: int
    variant: int
    line: int
    text: str


# --- Faults -----------------------------------------------------------------------------------------------

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}


def variants(node: ast.AST) -> list[ast.AST]:  # noqa: C901, PLR0911  one case per kind of fault
    """Return the faulty forms of a node."""
    match node:
        case ast.Compare(ops=[op]):
            kinds = [table[type(op)] for table in (_OPPOSITE, _BOUNDARY) if type(op) in table]
            return [_changed(node, ops=[kind()]) for kind in kinds]
        case ast.BoolOp():
            return [_changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())]
        case ast.UnaryOp(op=ast.Not()):
            return [node.operand]
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            return [_changed(node, op=_ARITHMETIC[type(node.op)]())]
        case ast.If() | ast.IfExp() | ast.While():
            return [_changed(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))]
        case ast.Constant(value=bool()):
            return [_changed(node, value=not node.value)]
        case ast.Constant(value=int() | float()):
            return [_changed(node, value=node.value + 1)]
        case ast.Constant(value=str()) if node.value:
            return [_changed(node, value=f"{node.value}?")]
        case ast.Call(args=[first, second, *rest]) if not isinstance(first, ast.Starred):
            return [_changed(node, args=[second, first, *rest])]
        case ast.Return(value=ast.AST()):
            return [_changed(node, value=ast.Constant(value=None))]
        case ast.Expr() | ast.Raise() | ast.AugAssign():
            return [ast.Pass()]
    return []


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that may be changed: no docstring, annotation, decorator, message, type-checking import."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop(0)
        yield node
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "bases", "keywords"} and isinstance(
                node, ast.ClassDef | ast.FunctionDef | ast.arg | ast.AnnAssign
            ):
                continue
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in children if isinstance(child, ast.AST) and not _is_left_out(child)]


def _is_left_out(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr():  # a docstring; the text of a message
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Import() | ast.ImportFrom():
            return True
        case (
            ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias"))
        ):
            return True
    return False


def find_mutants(tree: ast.Module) -> list[Mutant]:
    """Return every mutant of a module."""
    mutants = []
    for index, node in enumerate(_nodes(tree)):
        for variant, changed in enumerate(variants(node)):
            old, new = (" ".join(ast.unparse(ast.fix_missing_locations(one)).split())[:70] for one in (node, changed))
            mutants.append(
                Mutant(index=index, variant=variant, line=getattr(node, "lineno", 0), text=f"{old}  ->  {new}")
            )
    return mutants


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """Return the syntax tree of a module with one fault."""
    tree = ast.parse(source)
    for index, node in enumerate(_nodes(tree)):
        if index == mutant.index:
            changed = variants(node)[mutant.variant]
            return ast.fix_missing_locations(_Replacement(node, ast.copy_location(changed, node)).visit(tree))
    raise LookupError(f"no node {mutant.index}")


class _Replacement(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else super().visit(node)


# --- Execution --------------------------------------------------------------------------------------------


class _MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed module in place of the original."""

    def __init__(self, target: Target, tree: ast.Module) -> None:
        self._target = target
        self._tree = tree

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        del path, target
        if fullname != self._target.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._target.path, loader=self)

    def create_module(self, spec: object) -> None:
        """Leave it to Python."""

    def exec_module(self, module: object) -> None:
        exec(compile(self._tree, str(self._target.path), "exec"), vars(module))


def run_tests(target: Target, mutant: Mutant | None, *, timeout_s: float) -> str:
    """Run the tests of a target in a forked process, against a mutant or the original."""
    tree = mutated(target.path.read_text(encoding="utf-8"), mutant) if mutant else None
    pid = os.fork()
    if pid == 0:
        os._exit(_test_in_this_process(target, tree))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return {0: SURVIVED, 1: KILLED, 2: KILLED}.get(code, BROKEN if code >= 0 else KILLED)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return KILLED


def _test_in_this_process(target: Target, tree: ast.Module | None) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir(ROOT)
    if tree is not None:
        sys.meta_path.insert(0, _MutantFinder(target, tree))
        try:
            importlib.import_module(target.module)  # before pytest, whose own import hook would come first
        except Exception:  # noqa: BLE001  a fault may raise anything
            return 1
    import pytest

    options = (
        "-x",
        "-q",
        "--override-ini=addopts=--import-mode=importlib",
        "-pno:cacheprovider",
        "-pno:xdist",
        "-Wignore::pytest.PytestAssertRewriteWarning",
    )
    return int(pytest.main([*options, *target.tests]))


def check(name: str, *, sample: int, jobs: int) -> float:
    """Print the surviving mutants of a target and return the share that was killed."""
    target = TARGETS[name]
    began = time.monotonic()
    outcome = run_tests(target, None, timeout_s=600)
    if outcome != SURVIVED:
        sys.exit(f"{name}: the tests of the original do not pass ({outcome}): {' '.join(target.tests)}")
    timeout_s = 10 + 5 * (time.monotonic() - began)
    mutants = find_mutants(ast.parse(target.path.read_text(encoding="utf-8")))
    chosen = mutants if sample >= len(mutants) else random.Random(name).sample(mutants, sample)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        outcomes = list(pool.map(lambda mutant: run_tests(target, mutant, timeout_s=timeout_s), chosen))
    for mutant, outcome in sorted(zip(chosen, outcomes, strict=True), key=lambda pair: pair[0].line):
        if outcome != KILLED:
            print(  # noqa: T201  the output of a script
                f"  {target.path.relative_to(ROOT)}:{mutant.line}: {outcome}: {mutant.text}"
            )
    killed = outcomes.count(KILLED)
    share = killed / len(chosen)
    print(  # noqa: T201  the output of a script
        f"{name}: {killed} of {len(chosen)} mutants killed ({share:.0%}), from {len(mutants)} possible ones, in "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the chosen targets; return 1 when fewer mutants were killed than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="+", choices=sorted(TARGETS), default=sorted(TARGETS))
    parser.add_argument("--sample", type=int, default=60, help="mutants per module (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--goal", type=float, default=0.85, help="share that must be killed (default: 0.85)")
    options = parser.parse_args(arguments)
    shares = [check(name, sample=options.sample, jobs=options.jobs) for name in options.target]
    return 0 if min(shares) >= options.goal else 1


if __name__ == "__main__":
    sys.exit(main())
