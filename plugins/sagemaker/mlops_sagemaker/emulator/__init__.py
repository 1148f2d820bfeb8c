"""Executes pipeline definitions on this machine, without Docker and without AWS.

`parse_definition` reads a definition, `PipelineExecution` carries it out: jobs are processes that see an
``/opt/ml`` tree, ``s3://`` is a folder or an endpoint, statuses and failure reasons are in the service's words.
Definitions may come from any source: only `runner`, `collection` and `parity` know what a use case is.
"""
