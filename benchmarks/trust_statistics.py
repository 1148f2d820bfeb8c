"""The paired bootstrap of 2,000 resamples, against the same in NumPy.

Ours is the whole comparison of two models on 100,000 independent predictions: grouping, draws, interval and p-values.
The peer draws indices with NumPy's default generator, takes the mean of the differences, and returns the percentiles.

Usage: ``python benchmarks/trust_statistics.py [--predictions 100000]``
"""

from __future__ import annotations

import argparse
import random
import sys

import numpy as np
from measuring import Ratio, medians, report, timed

from mlops_core.evaluation.paired import RESAMPLES, compare_pairs


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=100_000, help="number of predictions (default: 100000)")
    count = parser.parse_args().predictions
    draw = random.Random(1)
    pairs = {f"{number:08d}": (draw.gauss(0, 1), draw.gauss(0.01, 1)) for number in range(count)}
    groups = {name: name for name in pairs}
    earlier, later = np.array(list(pairs.values())).T

    def peer() -> object:
        generator, differences = np.random.default_rng(1), later - earlier
        means = [differences[generator.integers(0, count, count)].mean() for _ in range(RESAMPLES)]
        return np.percentile(means, [2.5, 97.5])

    ours, numpy = medians(
        [lambda: timed(lambda: compare_pairs(pairs, groups=groups, seed=1)), lambda: timed(peer)], repetitions=3
    )
    name = f"paired bootstrap, {count:,} predictions"
    return report([Ratio(name=name, ours=ours, peer="the same in NumPy", peer_time=numpy, target=1.2)])


if __name__ == "__main__":
    sys.exit(main())
