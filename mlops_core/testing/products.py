"""What a session makes once, when it is first asked for: `Product`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_core.testing.session import ContractSession

T = TypeVar("T")


class Product(Generic[T]):
    """A method of `ContractSession` as an attribute that is made once, whether it returns or raises."""

    def __init__(self, function: Callable[[ContractSession], T]) -> None:
        """Make the attribute with `function`."""
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, session: None, owner: type) -> Self: ...
    @overload
    def __get__(self, session: ContractSession, owner: type) -> T: ...
    def __get__(self, session: ContractSession | None, owner: type) -> Self | T:
        """Return what the function has made, or raise what it has raised."""
        if session is None:
            return self
        name = self._function.__name__
        if name not in session.made:
            try:
                session.made[name] = (self._function(session), None)
            except (Exception, SystemExit) as error:  # noqa: BLE001  kept, and raised to everybody who asks
                session.made[name] = (None, error)
        value, problem = session.made[name]
        if problem is not None:
            raise problem
        found: T = value
        return found
