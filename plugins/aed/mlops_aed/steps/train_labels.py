"""Step ``train`` for clips with several labels: one sigmoid per class instead of a softmax over all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_aed.steps.train import train_network

if TYPE_CHECKING:
    from mlops_core import StepContext


def train(context: StepContext) -> None:
    """Write the network with the best validation loss, its metadata and ``history.csv``."""
    train_network(context, is_multi_label=True)
