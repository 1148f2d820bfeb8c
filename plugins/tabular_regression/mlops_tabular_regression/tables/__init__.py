"""From a CSV or Parquet file to checked rows: reading, schema, equal rows, folds."""
