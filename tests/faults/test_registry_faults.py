"""A process that is killed while it registers, promotes and approves loses nothing and leaves nothing half done.

How many are killed is set by ``MLOPS_FAULT_ROUNDS`` (`make test-faults` sets 200); a few in the default suite.
"""

import itertools
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mlops_core.workspace.maintenance.chain import verify_chain
from mlops_core.workspace.maintenance.housekeeping import database_fault, find_damage
from mlops_core.workspace.maintenance.repair import database_faults
from mlops_core.workspace.registry import BEST, Registry
from mlops_core.workspace.store import Store

ROUNDS = int(os.environ.get("MLOPS_FAULT_ROUNDS", "2"))
LOGGER = logging.getLogger(__name__)
WORKER = Path(__file__).with_name("registry_worker.py")
ROUNDS_PER_WORKSPACE = 10
MOST_TIMES = 10
"""A busy machine writes fewer entries before each kill, so that more kills, after longer delays, are needed."""


def killed(home, number, *, after, delay_s):
    """Return the lines of a worker that was killed so long after it printed the line `after`."""
    worker = subprocess.Popen([sys.executable, WORKER, home, str(number)], stdout=subprocess.PIPE, text=True)
    lines = []
    while after not in lines:
        lines.append(worker.stdout.readline().strip())
        assert lines[-1], "the worker ended by itself"
    time.sleep(delay_s)
    worker.kill()
    rest = worker.communicate(timeout=60)[0]
    assert worker.returncode == -9, rest
    return [*lines, *(line for line in rest.split("\n")[:-1])]


def check(home, lines, earlier):
    """Check a workspace after a kill and return its ledger."""
    with Store(home) as store:
        registry = Registry(store)
        history, versions = registry.history(), {version.version: version for version in registry.versions()}
        assert verify_chain(store).fault == ""
        assert [database_fault(store), *database_faults(store), *find_damage(store)] == [""]
        assert history[: len(earlier)] == earlier
        registered = [entry.subject for entry in history if entry.digest]
        assert registered == [f"version {number}" for number in sorted(versions)]
        assert all(store.runs.load(version.run_id).steps for version in versions.values())
        for line in lines:
            match = re.match("(registered|approved|shipped) ([0-9]+)", line)
            if match and match[1] == "registered":
                assert int(match[2]) in versions
            elif match:
                wanted = f"version {match[2]}" if match[1] == "approved" else "alias production"
                value = "Approved" if match[1] == "approved" else match[2]
                assert any((entry.subject, entry.value) == (wanted, value) for entry in history)
            elif re.search("moved|is the first", line):
                assert any(entry.subject == "alias best" and entry.why == line for entry in history)
        for alias in (BEST, "production"):
            moves = [entry for entry in history if entry.subject == f"alias {alias}"]
            assert [entry.previous for entry in moves] == ["", *(entry.value for entry in moves)][:-1]
            assert not moves or registry.alias_target("TOY", alias) == int(moves[-1].value) in versions
        assert sum(BEST in version.aliases for version in versions.values()) <= 1
    return history


def test_a_process_that_is_killed_at_any_moment_loses_no_entry_and_leaves_no_half_one(tmp_path):
    chance = random.Random(f"registry {ROUNDS}")
    home, history, counts = tmp_path / "workspace", (), []
    for number in itertools.count():
        if number >= ROUNDS and sum(counts) >= ROUNDS:
            break
        assert number < MOST_TIMES * ROUNDS, "too few entries were written: the kills prove nothing"
        if number % ROUNDS_PER_WORKSPACE == 0:
            shutil.rmtree(home, ignore_errors=True)
            history = ()
        after = "begins" if number % ROUNDS_PER_WORKSPACE == 0 else "ready"
        lines = killed(home, number, after=after, delay_s=chance.uniform(0, 0.2 * (1 + number // ROUNDS)))
        before = len(history)
        if (home / "mlops.db").exists():
            history = check(home, lines, history)
        counts.append(len(history) - before)
    LOGGER.info("%d kills, %d entries, %d kills after one", len(counts), sum(counts), sum(map(bool, counts)))
