"""What several tests of mlops-sagemaker share: a proxy with faults, and endpoints of small servers."""
