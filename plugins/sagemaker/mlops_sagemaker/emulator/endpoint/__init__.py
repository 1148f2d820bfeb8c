"""A SageMaker endpoint on loopback whose executions are executed: moto's server, with the interpreter behind it.

moto answers for S3, IAM, STS, EventBridge, SQS, CloudWatch Logs and the model registry. What it lacks or pretends of
pipelines is replaced here: definitions are checked, executions are carried out, can be stopped and retried, list
their steps, write logs and send events. Only this package imports moto.
"""
