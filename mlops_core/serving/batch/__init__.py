"""Predictions of many files by worker processes: ``mlops predict FOLDER --output FILE``, and batch-prediction steps.

* `answers`: lets the workers predict files, and yields what they answer in the order of the files.
* `inputs`: the files to predict; `journal`: what is finished, so that an interrupted call can be resumed.
* `folders`: puts these together for ``mlops predict``.
* `records`: requests that are made of files, and files that are made of answers; `step`: the function of a
  batch-prediction step.
"""
