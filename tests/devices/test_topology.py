"""The words for several devices: what they ask for, and what they say where it is not there."""

import pytest
import torch

from expkit.config.registry import devices
from expkit.core.errors import ConfigError
from expkit.devices import Layout

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")


@no_gpu
@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"name": "multi_gpu"}, "needs 2 CUDA devices, found 0; device=multi_cpu runs the same way on the CPU"),
        ({"name": "multi_gpu", "count": 4}, "needs 4 CUDA devices, found 0"),
        ({"name": "multi_gpu", "indices": [0, 5]}, "needs 6 CUDA devices, found 0"),
        ({"name": "multi_gpu", "indices": [1, 1]}, "device.indices: expected different numbers"),
        ({"name": "multi_cpu", "count": 0}, "device.count: expected an integer from 1 to 1,024, got 0"),
        *[
            ({"name": "multi_node", "nodes": 2, "endpoint": endpoint}, "device.endpoint: expected HOST:PORT")
            for endpoint in ("somewhere", ":29400", "node1:0", "node1:65536", "node1:²")
        ],
        *[
            ({"name": "multi_node", "nodes": 2, "endpoint": endpoint, "trust_network": True}, "is not one machine")
            for endpoint in ("0.0.0.0:29400", "[::]:29400", "*:29400")
        ],
        *[
            ({"name": "multi_node", "nodes": 2, "endpoint": endpoint}, "set device.trust_network=true")
            for endpoint in ("node1:29400", "10.0.0.7:29400", "[fe80::1]:29400")
        ],
        ({"name": "gpu"}, "gpu needs a CUDA device, found 0"),
        ({"name": "split", "devices": ["cuda:0", "cuda:1"]}, "there is no cuda:0: this machine has 0 CUDA devices"),
        ({"name": "split", "devices": ["gpu7"]}, "'gpu7' is not a device"),
        ({"name": "mps"}, "mps needs Apple's GPU"),
    ],
)
def test_what_cannot_be_had_is_said(node: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=r"^device\.") as error:
        devices.build(node)
    assert told in str(error.value)


@no_gpu
def test_ranks_on_the_cpu() -> None:
    found = devices.build({"name": "multi_cpu", "count": 3})
    assert isinstance(found, Layout)
    assert (len(found.devices), found.nodes, found.starts_ranks) == (3, 1, True)
    found = devices.build({"name": "multi_node", "nodes": 2, "endpoint": "host:29400", "trust_network": True})
    assert isinstance(found, Layout)
    assert (len(found.devices), found.nodes, found.is_local) == (1, 2, False)


@no_gpu
@pytest.mark.parametrize(
    ("nodes", "endpoint"),
    [(2, "localhost:29400"), (2, "127.0.0.1:29400"), (2, "[::1]:29400"), (1, "node1:29400")],
)
def test_what_only_this_machine_reaches_needs_no_trust(nodes: int, endpoint: str) -> None:
    found = devices.build({"name": "multi_node", "nodes": nodes, "endpoint": endpoint})
    assert isinstance(found, Layout)
    assert found.is_local
