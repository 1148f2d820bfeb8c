"""Azure Machine Learning as a runner: compiles pipelines to jobs, checks, submits, follows and executes them.

Importing this package is cheap. `compiler`, `checking`, `interpreter` and `container` need no package of Azure; only
`service` imports azure-identity, and only `bridge` imports azure-ai-ml, when they are used.
"""
