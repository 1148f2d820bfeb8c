DATASET_NAME="$(mlops describe --usecase "$USECASE_NAME" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["dataset"])')"
# If the manifest in the bucket, which is written last, shows a complete data set, nothing is fetched or uploaded.
mlops --workspace temp fetch --usecase "$USECASE_NAME" --region "$AWS_REGION" \
  --to "s3://$ARTIFACT_BUCKET/train/datasets/$DATASET_NAME/"
