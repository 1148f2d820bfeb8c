"""The front matter of a model card: YAML as the Hugging Face Hub reads it.

Source of the format: https://huggingface.co/docs/hub/model-cards (front matter) and
https://github.com/paperswithcode/model-index (``model-index``).
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.licences import is_known_licence
from mlops_core.report.model_card.markdown import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_core.evaluation.metrics import Metric, MetricValue
    from mlops_core.report.model_card.facts import CardFacts

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_UNPRINTABLE = re.compile("[\\ufffe\\uffff]")
"""What `escape_line` leaves and YAML forbids."""
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_HUB_LICENCES = frozenset(
    re.findall(
        r"\S+",
        """
        apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
        afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
        cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
        cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
        cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl
        gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openrail++ osl-3.0
        postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
        """,
    )
)
"""The identifiers that the Hub accepts; any other licence is ``other`` with a name."""


def front_matter(facts: CardFacts, name: str) -> str:
    """Return the lines between the two ``---`` of a card with this title."""
    data: dict[str, Any] = {**_licence_fields(facts.licence), "library_name": "mlops"}
    data["tags"] = ["mlops", one_line(facts.record.use_case)]
    dataset = facts.record.dataset
    if dataset:
        data["datasets"] = [one_line(dataset.name)]
    values = list(_finite_values(facts))
    if values:
        data["metrics"] = [one_line(metric.name) for metric, _ in values]
        data["model-index"] = [{"name": one_line(name), "results": [_result(facts, values)]}]
    return "".join(f"{line}\n" for line in _yaml_lines(data))


def _yaml_lines(data: object) -> Iterator[str]:
    """Yield the lines of a mapping or a list as YAML; a package that writes YAML takes longer to import than a run."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, dict | list):
                yield f"{key}:"
                yield from (f"  {line}" for line in _yaml_lines(value))
            else:
                yield f"{key}: {_yaml_scalar(value)}"
    elif isinstance(data, list):
        for item in data:
            first, *others = _yaml_lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield _yaml_scalar(data)


def _yaml_scalar(value: object) -> str:
    """Return a number or a text; a text that is more than a plain word in quotes, as JSON, which YAML includes."""
    if isinstance(value, float):
        mantissa, sign, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}{sign}{exponent}"
    text = str(value)
    is_plain = _PLAIN.fullmatch(text) and text.casefold() not in _YAML_WORDS
    if is_plain or isinstance(value, int):
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def _licence_fields(licence: str) -> dict[str, str]:
    if not is_known_licence(licence):
        return {"license": "unknown"}
    text = " ".join(licence.split())
    if text.casefold() in _HUB_LICENCES:
        return {"license": text.casefold()}
    return {"license": "other", "license_name": one_line(text)}


def _finite_values(facts: CardFacts) -> Iterator[tuple[Metric, MetricValue]]:
    report = facts.report
    for metric in facts.run.metrics if report else ():
        value = report.values.get(metric.name) if report else None
        if value is not None and math.isfinite(value.value):
            yield metric, value


def _result(facts: CardFacts, values: Sequence[tuple[Metric, MetricValue]]) -> dict[str, Any]:
    dataset = facts.record.dataset
    name = one_line(dataset.name) if dataset else "unknown"
    shown = {"type": name, "name": name, "split": "test", **({"revision": dataset.digest} if dataset else {})}
    return {
        "task": {"type": "other", "name": one_line(facts.record.use_case)},
        "dataset": shown,
        "metrics": [_metric_entry(metric, value) for metric, value in values],
    }


def _metric_entry(metric: Metric, value: MetricValue) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": one_line(metric.name),
        "name": one_line(metric.title or metric.name),
        "value": value.value,
    }
    if math.isfinite(value.low) and math.isfinite(value.high):
        entry["args"] = {"confidence_interval": [value.low, value.high], "level": value.level}
    return entry
