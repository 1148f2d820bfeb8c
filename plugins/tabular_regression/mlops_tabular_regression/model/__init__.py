"""Gradient boosting: design matrix, search of the settings, intervals, importance, prediction."""
