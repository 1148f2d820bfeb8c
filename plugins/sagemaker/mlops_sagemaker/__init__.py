"""SageMaker Pipelines: a pipeline compiled to a definition, checked, submitted, and executed in containers.

Importing this package costs nothing; `compilation` and `container` need no AWS package, `checking` needs botocore's
data files, and only the modules that talk to the service import boto3.
"""
