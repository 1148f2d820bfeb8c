"""CloudWatch and Application Auto Scaling as far as moto only stores what they should act upon: alarms, targets."""
