DATASET_NAME="$(mlops describe --usecase "$USECASE_NAME" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["dataset"])')"
# Nothing is fetched or sent when the manifest there, which is written last, says that the data set is complete.
mlops --workspace temp fetch --usecase "$USECASE_NAME" --region "$AWS_REGION" \
  --to "s3://$ARTIFACT_BUCKET/train/datasets/$DATASET_NAME/"
