"""What a gate rests on beyond the metrics: the metrics of slices of the test set, and the champion's predictions.

`gate_evidence` computes both from stored predictions with the use case's own metrics, on demand, so that a gate can be
evaluated again at any time, here and in a container, with the same result. It compares with the `champion` sample by
sample where the metric is a mean over samples (`contributions`), else by leaving out blocks of groups (`jackknife`).
"""

from mlops_core.gates.evidence.champion import ChampionPredictions
from mlops_core.gates.evidence.errors import EvidenceError
from mlops_core.gates.evidence.gate_evidence import FEWEST_SAMPLES, RECALL, GateEvidence

__all__ = ["FEWEST_SAMPLES", "RECALL", "ChampionPredictions", "EvidenceError", "GateEvidence"]
