"""The network: batches, augmentation, training, transfer learning, calibration, prediction."""
