"""Networks: architectures, the folder of a model, and readers of model formats."""
