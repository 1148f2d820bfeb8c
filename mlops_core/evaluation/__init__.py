"""What predictions say about a model: intervals, constant answers as a baseline, which evaluations can be compared."""
