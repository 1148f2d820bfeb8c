"""Executes a pipeline job on this machine: each node is a process, datastores are folders."""
