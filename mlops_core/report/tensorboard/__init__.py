"""A run as TensorBoard reads it: curves, metrics, confusion matrices and hyperparameters, made from what core stores.

Plugins write no event files; the source is each training's ``history.csv``, the evaluation and the configuration, so
that the logs of a run are the same whichever engine carried it out.
"""

from mlops_core.report.tensorboard.writing import HPARAMS_FILE, TENSORBOARD_FOLDER, write_tensorboard

__all__ = ["HPARAMS_FILE", "TENSORBOARD_FOLDER", "write_tensorboard"]
