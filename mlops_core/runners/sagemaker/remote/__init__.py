"""SageMaker's own service as a runner: data to S3, a pipeline submitted, followed and its results brought back.

`account` is the only module here that imports boto3, `bulk` the only one that imports obstore; both on use.
"""
