"""Training: losses, optimizers, schedules, metrics and the loop."""
