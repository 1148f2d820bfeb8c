"""What every remote engine needs and no engine owns."""
