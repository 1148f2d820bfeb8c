TAGS="$(printf '[{"Key": "sagemaker:project-name", "Value": "%s"}, {"Key": "sagemaker:project-id", "Value": "%s"}]' \
  "$SAGEMAKER_PROJECT_NAME" "$SAGEMAKER_PROJECT_ID")"
KWARGS="$(printf '{"%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s", "%s": "%s"}' \
  usecase_name "$USECASE_NAME" \
  region "$AWS_REGION" \
  role "$SAGEMAKER_PIPELINE_ROLE_ARN" \
  default_bucket "$ARTIFACT_BUCKET" \
  pipeline_name "$SAGEMAKER_PROJECT_NAME_ID" \
  model_package_group_name "$SAGEMAKER_PROJECT_NAME_ID" \
  base_job_prefix "$SAGEMAKER_PROJECT_NAME_ID" \
  sagemaker_project_name "$SAGEMAKER_PROJECT_NAME")"
if [ -e dataset.yaml ]; then
  KWARGS="${KWARGS%\}}, \"config\": \"dataset.yaml\"}"
fi
run-pipeline --module-name pipelines.stm.pipeline --role-arn "$SAGEMAKER_PIPELINE_ROLE_ARN" \
  --tags "$TAGS" --kwargs "$KWARGS" --artifacts-dir /tmp/ml
