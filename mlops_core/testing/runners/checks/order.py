"""Checks of the schedule: every step runs once, after what it reads, and in parallel where it may."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mlops_core.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.runners.session import RunnerSession

RAN = ("a_run_is_accepted",)


@check(after=RAN)
def steps_run_after_what_they_read(session: RunnerSession) -> Iterator[str]:
    """A step starts when every step that it reads from has written its outputs.

    Fix: order the steps by Step.needs, or execute Pipeline.ordered() one after the other.
    """
    for name, needs in NEEDS.items():
        for before in needs:
            ends = [visit.done for visit in session.plain.of(before)]
            for visit in session.plain.of(name):
                if any(end is None or end > visit.began for end in ends):
                    yield f"step '{name}' started before step '{before}' had written its outputs"


@check(after=RAN)
def every_step_runs_once(session: RunnerSession) -> Iterator[str]:
    """In a new workspace every step, and every shard, is executed exactly once.

    Fix: start a step again only after it failed and declares retries.
    """
    for name in NEEDS:
        shards = [visit.facts["shard"] for visit in session.plain.of(name)]
        if not shards or len(shards) != len(set(shards)):
            yield f"step '{name}' was executed {len(shards)} times, with the shards {shards}"


@check(after=RAN, needs="is_parallel")
def independent_steps_run_in_parallel(session: RunnerSession) -> Iterator[str]:
    """Two steps that do not depend on each other run at the same time.

    Fix: start every step whose inputs are complete; an engine that cannot declares is_parallel = False.
    """
    if not all(visit.has_met for name in ("left", "right") for visit in session.plain.of(name)):
        yield "steps 'left' and 'right' waited for each other in vain"


@check(after=RAN, needs="has_jobs")
def jobs_limit_parallel_steps(session: RunnerSession) -> Iterator[str]:
    """With jobs=1, one step runs at a time.

    Fix: keep the limit that create_runner receives as jobs.
    """
    visits = sorted(session.narrow.visits, key=lambda visit: visit.began)
    for earlier, later in itertools.pairwise(visits):
        if earlier.done is None or later.began < earlier.done:
            yield f"step '{later.step}' started before step '{earlier.step}' had ended"


@check(after=RAN, needs="has_shards")
def shards_are_processes_of_their_own(session: RunnerSession) -> Iterator[str]:
    """A step with two shards is executed as shard 0 of 2 and shard 1 of 2.

    Fix: execute one StepRequest for each shard, then one with the parts of all.
    """
    shards = sorted((visit.facts["shard"], visit.facts["shards"]) for visit in session.plain.of("prepare"))
    if shards != [(0, 2), (1, 2)]:
        yield f"step 'prepare' was executed as (shard, shards) = {shards}"


@check(after=RAN, needs="has_shards")
def shards_are_merged(session: RunnerSession) -> Iterator[str]:
    """Followers of a sharded step read the same files as without shards.

    Fix: merge the parts of all shards by executing the step's merge.
    """
    tables = [drive.of("train")[0].facts["inputs"]["table"] for drive in (session.plain, session.narrow)]
    if tables[0] != tables[1]:
        yield f"with two shards the output has {len(tables[0])} files, without {len(tables[1])}, or others"


@check(after=RAN)
def runs_end_after_their_steps(session: RunnerSession) -> Iterator[str]:
    """When a run is reported as accepted, all its steps have written their outputs.

    Fix: wait for the end of every step.
    """
    for visit in session.plain.visits:
        if visit.done is None:
            yield f"step '{visit.step}' had not written its outputs"


NEEDS = {
    "prepare": (),
    "left": ("prepare",),
    "right": ("prepare",),
    "train": ("prepare", "left", "right"),
    "evaluate": ("prepare", "train"),
}
"""Step of PROBE -> the steps from which it reads."""
