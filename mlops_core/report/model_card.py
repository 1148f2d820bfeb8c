"""The model card: Markdown with the front matter of the Hugging Face Hub, from what is stored about a run.

`model_card` is a pure function: equal facts give equal text, at any time and on any machine. Everything that comes from
elsewhere (names of classes, data sets and groups, reasons of a verdict) is put on one line and escaped, so that it
forms neither Markdown nor HTML, and cannot end the front matter.
Source of the format: https://huggingface.co/docs/hub/model-cards (front matter) and
https://github.com/paperswithcode/model-index (``model-index``).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.control_characters import escape_line
from mlops_core.datasets.licences import is_known_licence, licence_warning, shown_licence
from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.metrics import Direction, MetricReport, Unit
from mlops_core.quantities import counted, format_number, format_size
from mlops_core.report.facts import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlops_core.datasets.licences import Licences
    from mlops_core.evaluation.confusion import ConfusionMatrix
    from mlops_core.evaluation.metrics import GroupBreakdown, GroupMetrics, Metric, MetricValue
    from mlops_core.report.facts import RunFacts
    from mlops_core.workspace.records import RunRecord

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|&~$])")
_ADDRESS = re.compile(r"(?i)(://)|(\bwww)\.")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_UNPRINTABLE = re.compile("[\\ufffe\\uffff]")
"""What `escape_line` leaves and YAML forbids."""
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_NAME_LIMIT = 200
_MOST_CLASSES, _MOST_GROUPS, _MOST_ROWS = 100, 10, 50
_FEW_SAMPLES = 10
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """Everything that a model card says.

    Attributes:
        run: the run that made the model, with its metrics.
        licences: of the data and the base models; None if the run has no record of them.
        parts: part of the split -> number of samples, or why they are not known.
        version: number of the model version; None if the model is not registered.
        description: one line about the use case; empty for none.
        licence: of the model itself, as its owner declares it; empty if nobody has.
    """

    run: RunFacts
    licences: Licences | None
    parts: Mapping[str, int] | Missing
    version: int | None = None
    description: str = ""
    licence: str = ""

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def report(self) -> MetricReport | None:
        """The evaluation; None if there is none."""
        return self.run.evaluation if isinstance(self.run.evaluation, MetricReport) else None


def model_card(facts: CardFacts) -> str:
    """Return the model card as Markdown."""
    name = _title(facts)
    sections = {
        "Intended use": _intended_use(facts),
        "Data": _data(facts),
        "Metrics": _metrics(facts),
        "Limits": (f"- {limit}" for limit in _limits(facts)),
        "Lineage": _lineage(facts),
    }
    body = [f"# {markdown_text(name)}", ""]
    for heading, lines in sections.items():
        body += [f"## {heading}", "", *lines, ""]
    return f"---\n{_front_matter(facts, name)}---\n\n" + "\n".join(body).rstrip("\n") + "\n"


def markdown_text(text: object) -> str:
    r"""Return a text as one line of Markdown that shows it and means nothing else.

    Example:
        >>> print(markdown_text("<b>cat</b> | [dog](x)"))
        \<b\>cat\</b\> \| \[dog\](x)
    """
    line = _one_line(text)
    return _ADDRESS.sub(lambda match: r"\://" if match[1] else rf"{match[2]}\.", _MARKDOWN.sub(r"\\\1", line))


def _one_line(text: object) -> str:
    line = escape_line(str(text).strip())
    return line if len(line) <= _NAME_LIMIT else f"{line[: _NAME_LIMIT - 1]}…"


def _title(facts: CardFacts) -> str:
    version = "" if facts.version is None else f" version {facts.version}"
    return f"{facts.record.use_case}{version}"


# --- Front matter -----------------------------------------------------------------------------------------


def _front_matter(facts: CardFacts, name: str) -> str:
    data: dict[str, Any] = {**_licence_fields(facts.licence), "library_name": "mlops"}
    data["tags"] = ["mlops", _one_line(facts.record.use_case)]
    dataset = facts.record.dataset
    if dataset:
        data["datasets"] = [_one_line(dataset.name)]
    values = list(_finite_values(facts))
    if values:
        data["metrics"] = [_one_line(metric.name) for metric, _ in values]
        data["model-index"] = [{"name": _one_line(name), "results": [_result(facts, values)]}]
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
    return {"license": "other", "license_name": _one_line(text)}


def _finite_values(facts: CardFacts) -> Iterator[tuple[Metric, MetricValue]]:
    report = facts.report
    for metric in facts.run.metrics if report else ():
        value = report.values.get(metric.name) if report else None
        if value is not None and math.isfinite(value.value):
            yield metric, value


def _result(facts: CardFacts, values: Sequence[tuple[Metric, MetricValue]]) -> dict[str, Any]:
    dataset = facts.record.dataset
    name = _one_line(dataset.name) if dataset else "unknown"
    shown = {"type": name, "name": name, "split": "test", **({"revision": dataset.digest} if dataset else {})}
    return {
        "task": {"type": "other", "name": _one_line(facts.record.use_case)},
        "dataset": shown,
        "metrics": [_metric_entry(metric, value) for metric, value in values],
    }


def _metric_entry(metric: Metric, value: MetricValue) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": _one_line(metric.name),
        "name": _one_line(metric.title or metric.name),
        "value": value.value,
    }
    if math.isfinite(value.low) and math.isfinite(value.high):
        entry["args"] = {"confidence_interval": [value.low, value.high], "level": value.level}
    return entry


# --- Sections ---------------------------------------------------------------------------------------------


def _intended_use(facts: CardFacts) -> Iterator[str]:
    record, classes = facts.record, _classes(facts.report)
    description = f": {markdown_text(facts.description)}" if facts.description else ""
    yield f"A model of the use case {markdown_text(record.use_case)} ({markdown_text(record.plugin)}){description}"
    yield ""
    if classes:
        shown = ", ".join(map(markdown_text, classes[:_MOST_CLASSES]))
        more = f" and {len(classes) - _MOST_CLASSES} more" if len(classes) > _MOST_CLASSES else ""
        yield f"It tells {len(classes)} classes apart: {shown}{more}. It has no answer for anything else."
        yield ""
    dataset = record.dataset
    source = f"{markdown_text(dataset.name)}" if dataset else "the training data"
    yield f"It is meant for data like {source}. The metrics below say nothing about other data."
    yield ""
    yield f"Licence of the model: {_shown(facts.licence) if facts.licence else 'none was declared'}."


def _data(facts: CardFacts) -> Iterator[str]:
    dataset, licences = facts.record.dataset, facts.licences
    if dataset is None:
        yield "The run has no record of its data."
    else:
        licence = licences.dataset if licences else dataset.licence
        generated = " (generated by code)" if dataset.is_generated else ""
        rows = [
            ("Data set", f"{markdown_text(dataset.name)}{generated}"),
            ("Licence", _shown(licence)),
            ("Size", f"{counted(dataset.files, 'file')}, {format_size(dataset.size_bytes)}"),
            ("Digest", markdown_text(dataset.digest)),
        ]
        yield from _table(("", "Data"), rows)
    yield ""
    if isinstance(facts.parts, Missing):
        yield f"Number of samples per part: not available. {markdown_text(facts.parts.reason)}"
    else:
        yield from _table(("Part", "Samples"), [(markdown_text(part), str(n)) for part, n in facts.parts.items()])
    yield ""
    models = licences.base_models if licences else None
    if models is None:
        yield "Base models: the run has no record of them."
    elif not models:
        yield "Base models: none; training began with random weights."
    else:
        cells = [
            (markdown_text(each.name), _shown(each.licence), markdown_text(each.source), markdown_text(each.sha256))
            for each in models
        ]
        yield from _table(("Base model", "Licence", "Source", "SHA-256"), cells)


def _metrics(facts: CardFacts) -> Iterator[str]:
    report = facts.report
    if report is None:
        reason = facts.run.evaluation.reason if isinstance(facts.run.evaluation, Missing) else ""
        yield f"Not available. {markdown_text(reason)}"
        return
    rows = [_metric_row(metric, report.values.get(metric.name)) for metric in facts.run.metrics]
    yield from _table(("Metric", "Value", "Interval", "Samples", "Better"), rows)
    for title, (headings, cells) in _slices(facts, report).items():
        yield ""
        yield f"### {title}"
        yield ""
        yield from _table(headings, cells)


def _metric_row(metric: Metric, value: MetricValue | None) -> tuple[str, ...]:
    unit = "" if metric.unit in (Unit.NONE, Unit.FRACTION) else f" {metric.unit}"
    better = "higher" if metric.direction is Direction.HIGHER else "lower"
    name = markdown_text(metric.title or metric.name)
    if value is None:
        return name, "missing", "none", "-", better
    interval = "none"
    if math.isfinite(value.low) and math.isfinite(value.high):
        method = f"({value.level:.0%}, {markdown_text(value.method)})"
        interval = f"{format_number(value.low)} to {format_number(value.high)} {method}"
    return name, f"{format_number(value.value)}{unit}", interval, str(value.count or "-"), better


_Section = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""The columns of a table, and its rows."""


def _slices(facts: CardFacts, report: MetricReport) -> dict[str, _Section]:
    """Return heading -> table of each way in which the test set divides."""
    sections: dict[str, _Section] = {}
    matrix = _matrix(report)
    if matrix is not None:
        rows = [
            (markdown_text(name), str(count), format_number(value))
            for name, count, value in sorted(_recalls(matrix), key=lambda item: (item[2], item[0]))
        ]
        limited = f" (the {_MOST_CLASSES} worst)" if len(rows) > _MOST_CLASSES else ""
        sections[f"By class, the worst first{limited}"] = ("Class", "Samples", "Recall"), [*rows[:_MOST_CLASSES]]
    if report.groups and report.groups.metrics and facts.run.metrics:
        heading = f"The worst of {counted(report.groups.count, 'group')}"
        sections[heading] = _worst_groups(report.groups, facts.run.metrics[0])
    for table in report.tables:
        cells = [tuple(markdown_text(_cell(cell)) for cell in row) for row in table.rows[:_MOST_ROWS]]
        sections[markdown_text(table.title)] = tuple(map(markdown_text, table.columns)), cells
    return sections


def _worst_groups(groups: GroupBreakdown, metric: Metric) -> _Section:
    sign = 1 if metric.direction is Direction.HIGHER else -1

    def rank(item: tuple[str, GroupMetrics]) -> tuple[float, str]:
        name, found = item
        return sign * found.values.get(metric.name, sign * math.inf), name

    worst = sorted(groups.metrics.items(), key=rank)[:_MOST_GROUPS]
    return ("Group", "Samples", markdown_text(metric.title or metric.name)), [
        (markdown_text(name), str(found.samples), format_number(found.values.get(metric.name))) for name, found in worst
    ]


def _limits(facts: CardFacts) -> Iterator[str]:
    record, report = facts.record, facts.report
    for what, note in _licence_notes(facts):
        yield f"{what}: {note}."
    if record.dataset and record.dataset.is_generated:
        yield "The data was generated by code; the metrics say nothing about real data."
    if record.verdict is None:
        yield "No gate has judged the model."
    elif not record.verdict.accepted:
        yield f"The gate did not accept the model: {markdown_text(record.verdict.message)}"
    yield from _limits_of_metrics(facts.run.metrics, report) if report else ("Nothing is known about its quality.",)
    yield "A shift of the data after training (other devices, places or times) is not measured."


def _limits_of_metrics(metrics: Sequence[Metric], report: MetricReport) -> Iterator[str]:
    if report.groups:
        yield (
            f"The test set has {report.groups.samples} samples in {counted(report.groups.count, 'group')}; samples of "
            "a group are not independent, and the intervals count groups."
        )
    for metric in metrics:
        value, name = report.values.get(metric.name), markdown_text(metric.title or metric.name)
        fault = metric.fault(value.value if value else None)
        if fault:
            yield f"{name} {markdown_text(fault)}."
        elif value and not (math.isfinite(value.low) and math.isfinite(value.high)):
            yield f"{name} has no interval: how certain it is, is not known."
        elif value and value.caveat:
            yield f"{name} rests on {value.caveat}."
    matrix = _matrix(report)
    small = [name for name, count, _ in _recalls(matrix) if count < _FEW_SAMPLES] if matrix else []
    if small:
        shown = ", ".join(map(markdown_text, small[:_MOST_CLASSES]))
        yield f"Fewer than {_FEW_SAMPLES} test samples, too few to judge: {shown}."


def _licence_notes(facts: CardFacts) -> Iterator[tuple[str, str]]:
    if facts.licences is None:
        yield "Licences", "the run has no record of them"
        return
    for what, licence in facts.licences.named():
        if note := licence_warning(licence):
            yield markdown_text(what), markdown_text(note)
    if facts.licences.base_models is None:
        yield "Base models", "the run has no record of them"


def _lineage(facts: CardFacts) -> Iterator[str]:
    record, report = facts.record, facts.report
    test_set = report.notes.get(TEST_SET_NOTE, "") if report else ""
    gate = [clause.clause for clause in record.verdict.clauses] if record.verdict else []
    rows = [
        ("Run", record.run_id),
        ("Created", record.created),
        ("Plugin", record.plugin),
        ("Runner", record.runner),
        ("Seed", record.seed),
        ("Model digest", _model_digest(record) or "unknown"),
        ("Data digest", record.dataset.digest if record.dataset else "unknown"),
        ("Test set digest", test_set or "unknown"),
        ("Verdict", str(record.verdict.outcome) if record.verdict else "none"),
        *((f"Parameter {name}", value) for name, value in sorted(record.parameters.items())),
        *sorted(record.environment.items()),
    ]
    yield from _table(("", "Value"), [(markdown_text(name), markdown_text(value)) for name, value in rows])
    if gate and record.verdict:
        yield ""
        clauses = [
            (markdown_text(clause.clause), str(clause.outcome), markdown_text(clause.reason))
            for clause in record.verdict.clauses
        ]
        yield from _table(("Clause of the gate", "Outcome", "Reason"), clauses)


def _model_digest(record: RunRecord) -> str:
    name, _, output = str(record.pipeline.get("model", "")).rpartition(".")
    step = record.step(name)
    return str(step.outputs.get(output, "")) if step else ""


# --- Helpers ----------------------------------------------------------------------------------------------


def _matrix(report: MetricReport | None) -> ConfusionMatrix | None:
    matrices = report.confusion_matrices if report else {}
    return next((matrices[name] for name in sorted(matrices) if matrices[name].is_square), None)


def _classes(report: MetricReport | None) -> tuple[str, ...]:
    matrix = _matrix(report)
    return matrix.classes if matrix else ()


def _recalls(matrix: ConfusionMatrix) -> Iterator[tuple[str, int, float]]:
    """Yield each class that the test set has, the number of its samples, and the share of them that is right."""
    for position, (name, row) in enumerate(zip(matrix.classes, matrix.counts, strict=True)):
        total = sum(row)
        if total:
            yield name, total, row[position] / total


def _shown(licence: str) -> str:
    return markdown_text(shown_licence(licence))


def _cell(value: object) -> object:
    return format_number(value) if isinstance(value, float) else value


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading or ' ' for heading in headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(cell or '-' for cell in row)} |"
