"""Regression on tables: a schema that is checked row by row, gradient boosting, intervals with measured coverage."""
