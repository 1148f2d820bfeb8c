"""What a session makes once, on first access: `Product`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Maker(Protocol):
    """An object that keeps its products."""

    made: dict[str, tuple[Any, BaseException | None]]
    """Name -> the value, or the error that was raised instead."""


class Product(Generic[T]):
    """A method of a session as an attribute that is made once, whether it returns or raises."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        """Make the attribute with `function`."""
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, session: None, owner: type) -> Self: ...
    @overload
    def __get__(self, session: Maker, owner: type) -> T: ...
    def __get__(self, session: Maker | None, owner: type) -> Self | T:
        """Return what the function has returned, or raise what it has raised."""
        if session is None:
            return self
        name = self._function.__name__
        if name not in session.made:
            try:
                session.made[name] = (self._function(session), None)
            except (Exception, SystemExit) as error:  # noqa: BLE001  kept, and raised at every access
                session.made[name] = (None, error)
        value, problem = session.made[name]
        if problem is not None:
            raise problem
        product: T = value
        return product
