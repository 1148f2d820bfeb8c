"""A hyperparameter search as data: what may be varied, how values are drawn, and the file that states a space."""
