"""A pipeline drawn as a graph: a box for each step with its key and what of it is cached, from left to right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_core.quantities import counted, short_digest
from mlops_core.report.kit import Markup, element, group, inline_svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 150, 66, 34, 22, 4
_NAME, _LINE = 17, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphStep:
    """A box of the graph.

    Attributes:
        name: of the step.
        needs: names of the boxes from which its inputs come.
        state: ``reuse``, ``run``, ``maybe``, ``fetch``, ``gate`` or another word; the style sheet knows the first five.
        key: digest of its step key; empty if it is not known yet.
        note: a short text in place of the key.
    """

    name: str
    needs: tuple[str, ...] = ()
    state: str = ""
    key: str = ""
    note: str = ""


def collapsed(steps: Sequence[GraphStep]) -> tuple[GraphStep, ...]:
    """Return the steps with the trials of each search as one box."""
    owner = {step.name: step.name.partition(".trial-")[0] + " trials" for step in steps if ".trial-" in step.name}
    members: dict[str, list[GraphStep]] = {}
    for step in steps:
        members.setdefault(owner.get(step.name, step.name), []).append(step)
    boxes = []
    for name, own in members.items():
        needs = dict.fromkeys(owner.get(need, need) for step in own for need in step.needs)
        needs.pop(name, None)
        if len(own) == 1 and own[0].name == name:
            step = own[0]
            boxes.append(GraphStep(name=name, needs=tuple(needs), state=step.state, key=step.key, note=step.note))
            continue
        states = Counter(step.state for step in own)
        state = states.most_common(1)[0][0]
        note = f"{counted(len(own), 'trial')}, {states['reuse']} cached"
        boxes.append(GraphStep(name=name, needs=tuple(needs), state=state, note=note))
    return tuple(boxes)


def pipeline_chart(steps: Sequence[GraphStep]) -> Markup:
    """Return the graph; a step is drawn to the right of everything that it needs."""
    columns = _columns(steps)
    rows: Counter[int] = Counter()
    places: dict[str, tuple[float, float]] = {}
    tallest = max(Counter(columns.values()).values())
    sizes = Counter(columns.values())
    for step in steps:
        column = columns[step.name]
        top = (tallest - sizes[column]) * (_HEIGHT + _GAP_Y) / 2
        places[step.name] = (
            _MARGIN + column * (_WIDTH + _GAP_X),
            _MARGIN + top + rows[column] * (_HEIGHT + _GAP_Y),
        )
        rows[column] += 1
    width = 2 * _MARGIN + (max(columns.values()) + 1) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + tallest * (_HEIGHT + _GAP_Y) - _GAP_Y
    label = "Pipeline: " + "; ".join(
        f"{step.name} ({step.state or 'step'}){' after ' + ', '.join(step.needs) if step.needs else ''}"
        for step in steps
    )
    drawing = inline_svg(
        *(_edge(places[need], places[step.name]) for step in steps for need in step.needs if need in places),
        *(_box(step, *places[step.name]) for step in steps),
        label=label,
        class_="graph",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height:g}",
    )
    return element(
        "div", drawing, class_="pipeline-chart", tabindex=0, role="region", aria_label="Graph of the pipeline"
    )


def _columns(steps: Sequence[GraphStep]) -> Mapping[str, int]:
    """Return the column of each step: one more than the largest of those that it needs."""
    known = {step.name: step for step in steps}
    columns: dict[str, int] = {}

    def column(name: str, above: frozenset[str]) -> int:
        if name not in columns:
            needs = [need for need in known[name].needs if need in known and need not in above]
            columns[name] = max((column(need, above | {name}) + 1 for need in needs), default=0)
        return columns[name]

    for step in steps:
        column(step.name, frozenset({step.name}))
    return columns


def _edge(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    middle = (x1 + x2) / 2
    path = f"M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2 - 7:g},{y2:g}"
    arrow = f"{x2 - 8:g},{y2 - 4:g} {x2:g},{y2:g} {x2 - 8:g},{y2 + 4:g}"
    return group(element("path", class_="edge", d=path), element("polygon", class_="arrow", points=arrow))


def _box(step: GraphStep, x: float, y: float) -> Markup:
    second = step.note or (f"key {short_digest(step.key)}" if step.key else "key not known yet")
    return element(
        "g",
        element("title", f"{step.name}: {step.state}; {step.key or step.note}"),
        element("rect", class_=f"box {step.state.replace(' ', '-')}", x=x, y=y, width=_WIDTH, height=_HEIGHT, rx=8),
        element("text", _short(step.name, _NAME), x=x + 10, y=y + 22),
        element("text", _short(second, _LINE), x=x + 10, y=y + 40, class_="small"),
        element("text", _short(step.state, _LINE), x=x + 10, y=y + 56, class_="small"),
    )


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
