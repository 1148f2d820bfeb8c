mlops --workspace temp doctor --usecase "$USECASE_NAME" --runner azureml
mlops --workspace temp run --usecase "$USECASE_NAME" --runner azureml --artifacts-dir ml
