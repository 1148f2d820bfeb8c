"""Errors that are answered in the form of the service that was called."""

from __future__ import annotations


class CallError(Exception):
    """A request that is refused.

    Attributes:
        status: of the response.
        code: as the service names it.
        message: one line.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class NotFoundError(CallError):
    """What was asked for does not exist."""

    def __init__(self, message: str, *, code: str = "ResourceNotFound") -> None:
        super().__init__(404, code, message)


class InvalidError(CallError):
    """The request is wrong."""

    def __init__(self, message: str, *, code: str = "UserError") -> None:
        super().__init__(400, code, message)


class ConflictError(CallError):
    """The request contradicts what exists."""

    def __init__(self, message: str, *, code: str = "Conflict") -> None:
        super().__init__(409, code, message)


class UnsupportedError(CallError):
    """The request is one that neither client makes."""

    def __init__(self, message: str) -> None:
        super().__init__(501, "NotImplemented", f"{message} is not supported by this endpoint")
