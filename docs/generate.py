"""Write docs/hooks.md from the specifications, so that it cannot say anything else: ``make docs``."""

from __future__ import annotations

import inspect
from pathlib import Path

from mlops_core import hookspecs
from mlops_core.manager import REQUIRED_HOOKS

HEADER = """# Hooks

Every hook that core calls, in the order in which it calls them. Written by `make docs` from
`mlops_core/hookspecs.py`; a test compares the two. Mark an implementation with `@hookimpl`; take only the arguments
that you need, by these names.
"""


def hooks_page() -> str:
    """Return the page."""
    found = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("mlops_")]
    parts = [HEADER]
    for name, hook in found:
        arguments = ", ".join(inspect.signature(hook).parameters)
        kind = "required" if name in REQUIRED_HOOKS else "optional"
        parts.append(f"## {name}\n\n`{name}({arguments})`, {kind}\n\n{inspect.getdoc(hook)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "hooks.md").write_text(hooks_page(), encoding="utf-8")
