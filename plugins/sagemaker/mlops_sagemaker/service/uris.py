"""S3 URIs."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_core.runners import RunnerError


@dataclass(frozen=True, slots=True, order=True)
class S3Uri:
    """A bucket and a key or key prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: object) -> S3Uri:
        """Parse ``s3://bucket/key``.

        Raises:
            RunnerError: the text is not an S3 URI.
        """
        bucket, _, key = str(text).removeprefix("s3://").partition("/")
        if not str(text).startswith("s3://") or not bucket:
            raise RunnerError(f"{text!r} is not an s3:// URI")
        return cls(bucket, key)

    def join(self, *parts: str) -> S3Uri:
        """Return the URI with parts appended to the key."""
        return S3Uri(self.bucket, "/".join([self.key.rstrip("/"), *parts]).lstrip("/"))

    def __str__(self) -> str:
        """Return the URI as text."""
        return f"s3://{self.bucket}/{self.key}"
