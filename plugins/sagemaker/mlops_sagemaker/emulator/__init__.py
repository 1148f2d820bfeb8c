"""Executes pipeline definitions on this machine, without Docker and without AWS.

`parse_definition` reads a definition and `PipelineExecution` executes it: jobs are processes with an ``/opt/ml`` tree,
``s3://`` is a folder or an endpoint, and statuses and failure reasons are those of the service. Definitions may come
from any source; only `collection` depends on use cases.
"""
