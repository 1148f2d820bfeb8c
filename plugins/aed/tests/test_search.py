"""The search space of AED: it varies what has an effect in the configured training; what cannot be searched."""

import pydantic
import pytest
from mlops_aed.config import AedConfig
from mlops_aed.training.searching import search_space

YAMNET = {"name": "yamnet"}


@pytest.mark.parametrize(
    ("training", "varied"),
    [
        ({}, {"learning_rate", "weight_decay", "label_smoothing", "mixup_alpha"}),
        ({"model": YAMNET, "fine_tune": True}, {"learning_rate", "weight_decay", "label_smoothing", "mixup_alpha"}),
        ({"model": YAMNET, "epochs": 3}, {"label_smoothing", "mixup_alpha"}),
        ({"model": YAMNET}, {"gain_db"}),
    ],
)
def test_a_search_varies_what_the_configured_training_uses(training, varied):
    config = AedConfig.model_validate({"training": training})
    (subspace,) = search_space(config.training).subspaces
    assert set(subspace) == varied


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"general": {"operation_mode": "chain_tqe"}}, "needs operation_mode training, not chain_tqe"),
        ({"dataset": {"folds": [1, 2]}}, "dataset.folds exclude each other"),
        ({"dataset": {"multi_label": True}}, "dataset.multi_label exclude each other"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(sections, message):
    assert AedConfig.model_validate(sections).tuning.trials == 1
    with pytest.raises(pydantic.ValidationError, match=message):
        AedConfig.model_validate({**sections, "tuning": {"trials": 2}})
