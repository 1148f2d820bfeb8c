"""Training: settings, input pipeline, augmentation, fitting, learning-rate schedules."""
