"""Small runs of each task, for tests."""

TASKS = {  # the smallest model of each
    "regression": ["task=regression", "model.width=4"],
    "segmentation": ["task=segmentation", "model.width=4", "model.depth=1"],
    "reconstruction": ["task=reconstruction", "model.width=4", "model.code=8"],
}
