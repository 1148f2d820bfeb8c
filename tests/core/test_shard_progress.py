"""The progress of all shards together is one count that never decreases."""

import random
from fractions import Fraction

import pytest

from mlops_core.runners.local.shard_progress import ShardProgress


def collect(shards):
    seen = []
    progress = ShardProgress(shards, lambda *report: seen.append(report))
    return seen, [progress.of_shard(index) for index in range(shards)]


def test_reports_of_shards_are_added_up():
    seen, (first, second) = collect(2)
    first("word", 5, 10)
    second("word", 2, 30)
    second("word", 20, 30)
    first("word", 10, 10)
    second("word", 30, 30)
    assert seen == [("word", 5, 20), ("word", 25, 40), ("word", 30, 40), ("word", 40, 40)]


def test_a_shard_that_is_ahead_waits_for_the_label_of_the_others():
    seen, (first, second) = collect(2)
    first("read", 10, 10)
    second("read", 1, 10)
    first("write", 3, 10)
    second("read", 10, 10)
    second("write", 0, 10)
    assert seen == [("read", 10, 20), ("read", 11, 20), ("read", 11, 20), ("read", 20, 20), ("write", 3, 20)]


@pytest.mark.parametrize("seed", range(20))
def test_progress_never_runs_backwards(seed):
    draw = random.Random(seed)
    seen, reporters = collect(4)
    totals = [draw.randint(1, 50) for _ in reporters]
    waiting = [(index, done) for index, total in enumerate(totals) for done in range(total + 1)]
    draw.shuffle(waiting)
    waiting.sort(key=lambda item: item[1] + draw.randint(0, 9) * (item[0] % 2))
    for index, done in waiting:
        reporters[index]("word", done, totals[index])
    shares = [Fraction(done, total) for _, done, total in seen]
    assert shares == sorted(shares)
    assert seen[-1] == ("word", sum(totals), sum(totals))
