"""The operations of SageMaker that the endpoint serves itself, each a function of a region's state and a request."""
