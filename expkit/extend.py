"""All that an author of a plugin imports: the registries, and what a registered factory returns or derives from.

```python
from expkit.extend import models


@models.register("mine")
def mine(num_classes: int, depth: int = 1) -> nn.Module: ...
```

What an option affects stands beside it, `labels: Annotated[str, PLACE]`: the result (where nothing is said), how fast
it comes about (SPEED), where the data lie (PLACE), or what is shown and kept (OUTPUT). These names stay, whatever moves
inside the package.
"""

from expkit.config.registry import (
    datasets,
    loggers,
    losses,
    metrics,
    mixings,
    models,
    optimizers,
    samplers,
    schedules,
    tasks,
    transforms,
    watchers,
)
from expkit.config.signature import OUTPUT, PLACE, RESULT, SPEED
from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.data.datasets.in_memory import ImageArrays
from expkit.data.decode import BadImage
from expkit.data.targets import WithMasks, WithNumbers
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.figures import Curves, Embedding, Figure, Graph, Histogram, Matrix, Picture, Table, Text
from expkit.tasks.metric import Metric
from expkit.tasks.task import Task, TaskInfo
from expkit.training.watch.base import Judged, Scene, Watcher, WatchOptions, Where

__all__ = [
    "OUTPUT",
    "PLACE",
    "RESULT",
    "SPEED",
    "BadImage",
    "ConfigError",
    "Curves",
    "Embedding",
    "Figure",
    "Graph",
    "Histogram",
    "ImageArrays",
    "ImageDataset",
    "ImageFiles",
    "Judged",
    "Logger",
    "Matrix",
    "Metric",
    "Picture",
    "Point",
    "RunFacts",
    "Scene",
    "Splits",
    "Table",
    "Task",
    "TaskInfo",
    "Text",
    "WatchOptions",
    "Watcher",
    "Where",
    "WithMasks",
    "WithNumbers",
    "datasets",
    "loggers",
    "losses",
    "metrics",
    "mixings",
    "models",
    "optimizers",
    "read_folders",
    "samplers",
    "schedules",
    "tasks",
    "transforms",
    "watchers",
]
