"""The SageMaker service: what boto3 sends and receives."""
