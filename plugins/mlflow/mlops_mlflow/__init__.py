"""Runs, metrics, models and aliases of mlops on an MLflow tracking server."""
