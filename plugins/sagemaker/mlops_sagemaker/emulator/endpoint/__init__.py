"""A SageMaker endpoint on loopback that executes pipelines: moto's server together with the emulator.

moto provides S3, IAM, STS, EventBridge, SQS, CloudWatch Logs and the model registry. Its operations for pipelines are
replaced: definitions are checked; executions are really executed, can be stopped and retried, list their steps, write
logs and send events. Only this package imports moto.
"""
