"""Creates a project: a data set, a model, their configs and a test."""
