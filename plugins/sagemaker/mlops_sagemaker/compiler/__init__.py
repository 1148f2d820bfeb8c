"""Compiles a pipeline to a SageMaker pipeline definition."""
