"""Drift detection while a model is served: from the reference of a model to an alarm and a proposal to retrain.

* `options`: how often a false alarm is acceptable, and where the state is.
* `folders`: the folder of the state, below the workspace or where the user says.
* `watching`: the detector of a server with its recent history; opened in a thread while the workers load the model.
* `clock`: a time that does not jump.
* `records`: the alarms and proposals of a workspace, as ``mlops drift alarms`` and ``mlops drift proposals`` list them.

An alarm is recorded and may propose to retrain. Nothing here starts a run, moves an alias or deploys a model.
"""
