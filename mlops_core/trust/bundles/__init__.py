"""Evidence bundles: written and signed here, verified anywhere.

`bundle` collects a run into one archive (`archive`) of signed statements (`statements`, `envelopes`, `keys`).
`verification` checks the bytes, `contents` what they say (`split_samples`, `differences`), and `recomputation` computes
metrics and verdict again.
`model_signing` signs the model's files for other tools.
"""
