"""What in a configuration must not be written out: values from the environment, secrets by name, secrets in addresses.

A value from the environment is written as the reference that it was (``${TOKEN}``), so that nothing that is saved holds
it and a resumed run reads it again. A literal secret has no such reference; it is written as `REDACTED`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_core.config_files.values import find_value
from mlops_core.redaction import REDACTED, Redactor, is_local_path, is_secret_key, names_secret, secrets_in_urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What is written instead of values.

    Attributes:
        texts: dotted key -> what is written instead of its value; empty where no text gives the value again.
        variables: names of the variables that the values came from -> their values.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def secrets(self, data: object) -> dict[str, str]:
        """Return those keys and texts whose values nobody may see.

        These are all but numbers, truth values and local paths that came from a variable, where neither the key nor the
        variable names a secret.

        Args:
            data: the configuration.
        """
        return {
            key: text
            for key, text in self.texts.items()
            if self._is_named(key, text) or self._is_hidden(find_value(data, key))
        }

    def redactor(self, *documents: object) -> Redactor:
        """Return a redactor of the values, as they are in each of `documents`, and of the variables themselves."""
        shown = {value: f"${{{name}}}" for name, value in self.variables.items() if value}
        named = {value for name, value in self.variables.items() if names_secret(name)}
        for document in documents:
            for key, text in self.texts.items():
                for value in _texts(find_value(document, key)):
                    shown.setdefault(value, text or REDACTED)
                    named |= {value} if self._is_named(key, text) else set()
                    for part in secrets_in_urls(value):
                        shown.setdefault(part, REDACTED)
                        named.add(part)
        return Redactor(shown, unnamed=shown.keys() - named)

    def _is_named(self, key: str, text: str) -> bool:
        names = [name for name in self.variables if f"${{{name}}}" in text]
        return not names or is_secret_key(key) or any(map(names_secret, names))

    def _is_hidden(self, value: object) -> bool:
        return isinstance(value, str) and not value.startswith(("/", "./", "../", "~")) and not is_local_path(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
