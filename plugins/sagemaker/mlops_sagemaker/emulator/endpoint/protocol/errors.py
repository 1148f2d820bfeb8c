"""The errors with which an operation answers, in the terms of the API reference."""

from __future__ import annotations


class CallError(Exception):
    """An operation was refused; its text is the message of the response."""

    code = "ValidationException"

    def __init__(self, message: str) -> None:
        """Create an error with the message of the response."""
        self.message = message
        super().__init__(message)


class ValidationError(CallError):
    """An argument is invalid, or names something that does not exist where the reference declares no other error."""


class SerializationError(CallError):
    """The request is not JSON, or a value does not have the type of its member."""

    code = "SerializationException"


class NotFoundError(CallError):
    """A resource does not exist."""

    code = "ResourceNotFound"


class InUseError(CallError):
    """A resource of this name exists."""

    code = "ResourceInUse"


class ConflictError(CallError):
    """The state of a resource does not allow the operation."""

    code = "ConflictException"


class UnsupportedError(CallError):
    """The operation does not exist, or does not exist here."""

    code = "UnknownOperationException"
