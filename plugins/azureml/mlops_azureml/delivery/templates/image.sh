if [ -z "${MLOPS_STEP_IMAGE:-}" ]; then
  : "${STEP_IMAGE_REPOSITORY:?set it to REGISTRY.azurecr.io/REPOSITORY, or set MLOPS_STEP_IMAGE to an existing image}"
  mlops package --runner azureml --usecase "$USECASE_NAME" --output image
  MLOPS_STEP_IMAGE="$STEP_IMAGE_REPOSITORY:$(mlops package --runner azureml --usecase "$USECASE_NAME" --tag)"
  REGISTRY="${STEP_IMAGE_REPOSITORY%%/*}"
  # The registry builds the image; the machine of the build needs no Docker.
  az acr build --registry "${REGISTRY%%.*}" --image "${MLOPS_STEP_IMAGE#*/}" image
fi
export MLOPS_STEP_IMAGE
