"""The input embedding in host memory under DDP, in processes that a launcher started; see test_launchers.py."""

import sys

import torch
import torch.distributed as dist

from bedside.kernels import host_embedding
from tests.kernels.test_host_embedding import IDS, step, tiny, with_adapter


def main(argv: list[str]) -> None:
    """DDP passes over what is no parameter: gradients are those of one process with both rows."""
    torch.manual_seed(0)
    model = with_adapter(tiny())
    alone = with_adapter(tiny())
    alone.load_state_dict(model.state_dict())
    _, expected = step(alone)
    assert host_embedding.install(model)
    both = torch.nn.parallel.DistributedDataParallel(model)
    row = IDS[dist.get_rank()][None]
    both(input_ids=row, labels=row).loss.backward()
    for name, p in model.named_parameters():
        assert not p.requires_grad or torch.allclose(p.grad, expected[name], atol=1e-6), name
    sys.stdout.write(f"rank {dist.get_rank()} of {dist.get_world_size()}: the gradients of both rows\n")
    sys.stdout.flush()
