"""x."""

from __future__ import annotations


def check_cost(*_args: object, **_kwargs: object) -> None:
    """Nothing yet."""
