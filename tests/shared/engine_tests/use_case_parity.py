"""The runs of the shipped use cases that are equal on every engine, and which of them a test carries out."""

import os
import sys

import pytest

from mlops_core.testing import Scenario, prove_runner_parity, scenario_request
from mlops_core.use_cases.discovery import discover_use_cases

SHARDS = {"AED": "dataset.shards", "ROAD_SIGN": "preprocessing.shards", "SCENE": "preprocessing.shards"}
TUNED = {
    "ABALONE": ("tuning.trials=3", "tuning.concurrent=2"),
    "SYMBOL_DETECTION": ("tuning.trials=2", "tuning.concurrent=1"),
}
VARIANTS = {
    "three-shards": {use_case: (f"{key}=3",) for use_case, key in SHARDS.items()},
    "tuned": TUNED,
}
"""Variant of an accepted run -> use case -> overrides."""


def parity_cases(*, quick, variants=tuple(VARIANTS)):
    """Return parameters for `check_parity`.

    Args:
        quick: pairs of use case and scenario or variant that are always carried out; others are skipped unless the
            environment asks for them.
        variants: names of the variants that the engine carries out.
    """
    chosen = os.environ.get("MLOPS_TEST_PARITY", "")
    cases = []
    for use_case in (installed.name for installed in discover_use_cases()):
        possible = [name for name in variants if use_case in VARIANTS[name]]
        for name in (*map(str, Scenario), *possible):
            is_selected = (use_case, name) in quick or chosen == "all" or use_case in chosen.split(",")
            skipped = pytest.mark.skip(reason="takes a minute; run it with MLOPS_TEST_PARITY=all (make test-parity)")
            cases.append(pytest.param(use_case, name, id=f"{use_case}-{name}", marks=[] if is_selected else [skipped]))
    return cases


def check_parity(use_case, name, *, runner, workspace):
    """Check that a run on a runner equals a local run in everything, and ends as its scenario says."""
    scenario = Scenario.ACCEPTED if name in VARIANTS else Scenario(name)
    request = scenario_request(use_case, scenario, overrides=VARIANTS.get(name, {}).get(use_case, ()))
    report = prove_runner_parity(request, runner=runner, workspace=workspace)
    assert report.differences == ()
    rows = {(row.subject, row.what): row.executed for row in report.rows}
    assert (rows["run", "status"], rows["run", "exit code"]) == (scenario.status, str(int(scenario.exit_code)))
    if name == "tuned":
        _check_one_choice(rows, trials=int(TUNED[use_case][0].rpartition("=")[2]))
    digests = [row.local for row in report.rows if row.what.startswith("digest of")]
    assert digests
    assert all(len(digest) == 12 for digest in digests)
    sys.stdout.write(f"parity: {use_case}, {name}: {len(report.rows)} comparisons, {len(digests)} digests\n")


def _check_one_choice(rows, *, trials):
    """Check that the objective of each trial, the record of all, the chosen model and its metrics were compared."""
    search = next(subject for subject, what in rows if what == "digest of trials")
    each = [f"{search}.trial-{index}" for index in range(trials)]
    assert all(rows[trial, "digest of objective"] for trial in each)
    assert rows[search, "digest of model"] in {rows[trial, "digest of model"] for trial in each}
    assert [what for _, what in rows if what == "digest of evaluation"]
