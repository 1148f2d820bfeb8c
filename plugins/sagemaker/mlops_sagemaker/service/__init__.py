"""Access to the SageMaker service, S3, IAM and CloudWatch Logs through boto3."""
