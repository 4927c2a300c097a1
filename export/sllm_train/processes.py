"""The processes of one training: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from sllm_export.errors import ExportError

# The others wait while the first process tokenises the corpora or evaluates.
TIMEOUT = timedelta(hours=12)


def check_device(name: str) -> None:
    """Refuses a device that this machine, or this PyTorch, does not have."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ExportError(f"--device is {name} (allowed: cpu, cuda, cuda:N)")
    if "WORLD_SIZE" in os.environ and name not in ("cpu", "cuda"):
        raise ExportError(f"--device is {name} (allowed under torchrun: cpu, cuda)")
    number = device.index or 0
    if device.type == "cuda" and number >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ExportError(f"--device is {name}, but PyTorch finds {found} CUDA devices here")


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Joins torchrun's processes where there are any. Each has one CPU thread, or its own GPU;
    a process of its own takes the threads that OMP_NUM_THREADS allows."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    # AdamW imports it. PyTorch never frees a group that is older than this module, and a thread
    # of such a group can abort the process at its end, which makes torchrun end the others.
    import torch._dynamo

    if device == "cpu":
        torch.set_num_threads(1)
        dist.init_process_group("gloo", timeout=TIMEOUT)
    else:
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise ExportError(f"process {number} has no GPU: {torch.cuda.device_count()} found")
        torch.cuda.set_device(number)
        # Counts of tokens are summed on the CPU, gradients on the GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=TIMEOUT)
    try:
        yield
        # Together: while one is busy with its last evaluation, the others keep the group alive.
        sum_over_processes([0.0])
    finally:
        dist.destroy_process_group()


def rank_and_world() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_processes(values: list[float]) -> list[float]:
    """The sums of the values that the processes give."""
    if not dist.is_initialized():
        return values
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    totals: list[float] = summed.tolist()
    return totals


def max_over_processes(value: float) -> float:
    """The largest of the values that the processes give."""
    if not dist.is_initialized():
        return value
    largest = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return float(largest)


@contextmanager
def first_process_first() -> Iterator[None]:
    """The first process runs the block, then the others, which find the files that it made."""
    rank, _ = rank_and_world()
    if rank > 0:
        try:
            sum_over_processes([0.0])
        except RuntimeError as error:
            raise ExportError("the first process has failed") from error
    yield
    if rank == 0:
        sum_over_processes([0.0])
