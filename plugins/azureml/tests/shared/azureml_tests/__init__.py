"""What several tests of mlops-azureml share: an endpoint with faults, and jobs with seeded faults."""
