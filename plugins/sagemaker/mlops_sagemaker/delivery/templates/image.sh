if [ -z "${MLOPS_STEP_IMAGE:-}" ]; then
  : "${STEP_IMAGE_REPOSITORY:?set it to an ECR repository, or set MLOPS_STEP_IMAGE to an existing image}"
  mlops package --runner sagemaker --usecase "$USECASE_NAME" --output image
  MLOPS_STEP_IMAGE="$STEP_IMAGE_REPOSITORY:$(mlops package --runner sagemaker --usecase "$USECASE_NAME" --tag)"
  export MLOPS_STEP_IMAGE
  aws ecr get-login-password --region "$AWS_REGION" |
    docker login --username AWS --password-stdin "${STEP_IMAGE_REPOSITORY%%/*}"
  docker build --tag "$MLOPS_STEP_IMAGE" image
  docker push "$MLOPS_STEP_IMAGE"
fi
