"""Settings that a service gives its workers: what they share is shared out."""

from pathlib import Path

import pytest
import torch

from auralith.jobs.tasks import ModelPlace
from auralith.server.service import ServiceSettings, worker_settings

PLACES = (ModelPlace("embedded"),)


@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_workers_on_cpus_share_cores_and_memory(count: int) -> None:
    devices = ("cpu",) * count
    found = worker_settings(ServiceSettings(Path("data"), PLACES, devices, batch=3, preload=True))
    assert len(found) == count
    for one in found:
        assert one.threads == max(1, torch.get_num_threads() // count)
        assert (one.sharers, one.device, one.batch, one.preload) == (count, "cpu", 3, True)
