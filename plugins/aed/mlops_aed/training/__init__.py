"""Training: the input pipeline, augmentation, fitting, learning-rate schedules."""
