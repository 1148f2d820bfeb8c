"""Online drift detection: has the data of requests moved away from the data that the model was tested with?

Two windows are compared with a reference by the maximum mean discrepancy (MMD), and a cumulative sum per feature
(CUSUM) says which feature moved. Thresholds are calibrated so that all of them together raise the number of false
alarms that a `DriftPolicy` states: one in so many days at so many requests per hour.

The contract in three lines::

    monitor = open_monitor(reference, DriftPolicy(), folder)  # calibrates once, then reads it from the folder
    facts = monitor.observe([[0.1, 0.9]])  # a `DriftDetector`: microseconds per sample
    monitor.close()  # saves the state

* `policy`: what the user states, and the plan that follows from it; `alarms`: what an alarm and a proposal say;
  `opening`: `prepare` and `open_monitor`, which need NumPy (extra ``serve``) only when they are called.
* `reference`, `scaling`: the reference, and as arrays; `streams`: streams drawn from it in blocks of groups.
* `mmd`, `cusum`: the statistics, updated per sample; `simulator`, `calibration`: their thresholds.
* `heldout`: the rate of false alarms on data that was held out; `preparation`: all of that, on disk.
* `monitor`: everything together; `states`: its state on disk.
* `replay`: captured requests in the order of their time, and simulated drift.

Modules that import NumPy are imported on use; this one, `policy`, `alarms` and `opening` do not.
"""

from mlops_core.serving.drift.alarms import DriftAlarm, MovedFeature, RetrainProposal
from mlops_core.serving.drift.opening import open_monitor, prepare
from mlops_core.serving.drift.policy import DriftPlan, DriftPolicy
from mlops_core.serving.drift.reference import DriftReference

__all__ = [
    "DriftAlarm",
    "DriftPlan",
    "DriftPolicy",
    "DriftReference",
    "MovedFeature",
    "RetrainProposal",
    "open_monitor",
    "prepare",
]
