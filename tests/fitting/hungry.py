"""A model whose memory runs out, and the runs that it is put into."""

import weakref

import torch

from tests.resume import toys

SAID = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 10.75 GiB of which 0.9 is free."


class Hungry:
    """An embedding that takes up to `rows` rows while gradients are made, and `eval_rows` rows without them; from
    step `after` on only, counted in calls."""

    def __init__(self, monkeypatch, rows=10**9, eval_rows=10**9, after=0):
        self.alive, self.seen, self.calls = [], [], 0
        plain = torch.nn.Embedding.forward

        def forward(module, ids):
            self.calls += 1
            if not any(known() is module for known in self.alive):
                # An earlier attempt's model is gone when the next one begins to compute.
                assert [known() for known in self.alive if known() is not None] == []
                self.alive.append(weakref.ref(module))
            self.seen.append(len(ids))
            if len(ids) > (rows if torch.is_grad_enabled() else eval_rows) and self.calls > after:
                raise torch.OutOfMemoryError(SAID)
            return plain(module, ids)

        monkeypatch.setattr(torch.nn.Embedding, "forward", forward)


def flags(model, tmp_path, name, *more, stage="sft", rows=16):
    """The flags of a short run of a stage, without what is random."""
    data = toys.write(stage, tmp_path, rows)
    return toys.flags(
        stage, model, data, tmp_path / name, "--lora_dropout", "0", "--dtype", "float32", "--gradient_checkpointing",
        "True", "--max_steps", "3", "--save_strategy", "no", *more,
    )  # fmt: skip


def batch(rows, accumulation):
    """The flags of a micro-batch and how often it is accumulated."""
    return ["--per_device_train_batch_size", str(rows), "--gradient_accumulation_steps", str(accumulation)]
