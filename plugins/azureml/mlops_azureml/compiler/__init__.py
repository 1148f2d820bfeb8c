"""Compiles pipelines to pipeline jobs, without requests, credentials or packages of Azure."""
