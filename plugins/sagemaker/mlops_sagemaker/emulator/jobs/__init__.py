"""The jobs of an emulated execution: processing, training, tuning, registration, and their containers."""
