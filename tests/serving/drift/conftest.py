"""References of a few hundred random vectors, and policies that are calibrated in a fraction of a second."""

from types import SimpleNamespace

import numpy as np
import pytest

from mlops_core.serving.drift import DriftPolicy
from mlops_core.serving.drift.calibration import calibrate
from mlops_core.serving.drift.policy import DriftPlan
from mlops_core.serving.drift.scaling import ScaledReference


def make_reference(values, groups=(), source="a test"):
    values = np.asarray(values)
    return SimpleNamespace(
        features=tuple(f"f{index}" for index in range(values.shape[1])),
        vectors=tuple(map(tuple, values.tolist())),
        samples=tuple(f"s{index}" for index in range(len(values))),
        groups=tuple(groups),
        source=source,
    )


def calibrated(values, *, window, run_length, seed=1):
    """Return the calibration of one window for independent samples that are standardised."""
    values = np.asarray(values)
    features = tuple(f"f{index}" for index in range(values.shape[1]))
    zeros, ones = np.zeros(len(features)), np.ones(len(features))
    standardised = ScaledReference(
        features=features, values=values, means=zeros, deviations=ones, groups=None, digest="a test"
    )
    plan = DriftPlan(windows=(window,), every=1, run_length=run_length, run_length_each=2 * run_length)
    return calibrate(standardised, plan, seed=seed)


@pytest.fixture
def normal():
    """Return a function that returns n samples of d independent normal features."""
    source = np.random.default_rng(7)
    return lambda n, d=4: source.normal(size=(n, d))


@pytest.fixture
def reference(normal):
    return make_reference(normal(200))


@pytest.fixture
def quick():
    """Return a policy of one false alarm in 100 samples."""
    return DriftPolicy(days=1, requests_per_hour=100 / 24, windows=(10, 25))
