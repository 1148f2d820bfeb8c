"""The steps of the pipeline, one module each; heavy packages are imported here and nowhere above."""
