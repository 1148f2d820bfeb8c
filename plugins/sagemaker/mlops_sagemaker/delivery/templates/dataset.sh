# DATASET_NAME chooses a data set; DOWNLOAD_COMMAND downloads one to ./temp, as a script that is confined to its folder.
CONFIG=()
if [ -n "${DOWNLOAD_COMMAND:-}" ]; then
  printf '%s\n' "$DOWNLOAD_COMMAND" > download.sh
  printf 'dataset:\n  name: "%s"\n  source:\n    command_file: download.sh\n' \
    "${DATASET_NAME:?set it to the name of the data set that DOWNLOAD_COMMAND downloads}" > dataset.yaml
elif [ -n "${DATASET_NAME:-}" ]; then
  printf 'dataset:\n  name: "%s"\n' "$DATASET_NAME" > dataset.yaml
fi
if [ -e dataset.yaml ]; then
  CONFIG=(--config dataset.yaml)
fi
DATASET_NAME="$(mlops describe --usecase "$USECASE_NAME" ${CONFIG[@]+"${CONFIG[@]}"} --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["dataset"])')"
# If the manifest in the bucket, which is written last, shows a complete data set, nothing is fetched or uploaded.
mlops --workspace temp fetch --usecase "$USECASE_NAME" ${CONFIG[@]+"${CONFIG[@]}"} --region "$AWS_REGION" \
  --to "s3://$ARTIFACT_BUCKET/train/datasets/$DATASET_NAME/"
