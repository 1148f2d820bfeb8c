"""Gates: what a model must meet to be registered, as data.

`clauses` holds the clauses and `conditions` combines them, `parsing` reads both from text, `gate` checks and evaluates
them, `judging` decides each clause, `evidence` is what it decides on beyond the metrics: slices of the test set and the
champion's predictions.
"""
