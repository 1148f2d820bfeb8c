"""The sections of a run's report, one module each: each renders a part of the `Evidence` with the kit."""
