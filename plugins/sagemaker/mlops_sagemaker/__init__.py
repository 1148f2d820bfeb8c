"""SageMaker Pipelines as a runner: compiles pipelines to definitions, checks, submits, follows and emulates them.

Importing this package is cheap. `compiler` and `container` need no AWS package, `checking` needs the data files of
botocore, and only `service` and `emulator` import boto3, when they are used.
"""
