"""Every public function and class has an example, and each example is true."""

import doctest
import enum
import inspect
from pathlib import Path

import pytest

import mlops_core

GLOBALS = {name: getattr(mlops_core, name) for name in mlops_core.__all__} | {"Path": Path}
EXPLAINED_ELSEWHERE = (enum.Enum, BaseException)
"""The members of an enumeration are its example; errors have a tree, and an example, in `mlops_core.errors`."""


def documented():
    for name in mlops_core.__all__:
        thing = getattr(mlops_core, name)
        is_explained = inspect.isclass(thing) and issubclass(thing, EXPLAINED_ELSEWHERE)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not is_explained:
            yield name


@pytest.mark.parametrize("name", [*documented(), "errors"])
def test_example_in_the_docstring_is_true(toy, tmp_path, name):
    thing = mlops_core.errors if name == "errors" else getattr(mlops_core, name)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    assert examples, f"{name} has no example in its docstring"
    test = doctest.DocTest(examples, dict(GLOBALS), name, inspect.getsourcefile(thing), 0, None)
    output = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert runner.run(test, out=output.append).failed == 0, "".join(output)
