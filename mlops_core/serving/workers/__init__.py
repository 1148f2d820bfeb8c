"""The worker processes: each holds the model and answers one request after another."""
