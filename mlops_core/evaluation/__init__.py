"""What predictions say about a model: intervals, constant answers as a baseline, and which evaluations can be compared."""
