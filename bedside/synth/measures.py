"""What a starter has learnt: perplexity of held-out documents, and whether it names what they describe."""

import math

from bedside.synth import documents

ROW = 512  # tokens of a row, in pretraining and here
NAMING_CASES = 200
MICRO_TOKENS = {"cuda": 65_536, "cpu": 4096}  # tokens in one forward pass; a batch is several of them


def autocast(device: str):
    """bfloat16 products on a GPU, plain float32 elsewhere."""
    import contextlib

    import torch

    return torch.autocast("cuda", dtype=torch.bfloat16) if device == "cuda" else contextlib.nullcontext()


def perplexity(model, ids, device: str) -> float:
    """Perplexity of a flat array of ids, read in rows of 512."""
    import torch

    rows = torch.from_numpy(ids[: len(ids) // ROW * ROW].astype("int64")).view(-1, ROW)
    model.eval()
    total = 0.0
    with torch.no_grad(), autocast(device):
        for batch in rows.split(MICRO_TOKENS[device] // ROW):
            batch = batch.to(device)
            total += model(input_ids=batch, labels=batch, use_cache=False).loss.item() * len(batch)
    model.train()
    return math.exp(total / len(rows))


def naming_cases(tokenizer, rows: list[dict], seed: int) -> list[tuple[list[int], int, int]]:
    """Held-out documents that lead from findings to a name: `(ids, begin, end)`, the name being `ids[begin:end]`."""
    cases = []
    for text, name in documents.heldout_conclusions(rows, NAMING_CASES, seed):
        place = text.rindex(name)
        encoded = tokenizer.backend_tokenizer.encode(text)
        begin, end = encoded.char_to_token(place), encoded.char_to_token(place + len(name) - 1) + 1
        cases.append((encoded.ids, begin, end))
    return cases


def naming(model, cases: list[tuple[list[int], int, int]], device: str) -> float:
    """Share of held-out documents whose condition the model would have named, every token its first choice.

    Perplexity of unseen frames soon rises, because it asks how strangers phrase things; this asks what is known.
    """
    import torch

    model.eval()
    named = 0
    for start in range(0, len(cases), 64):
        chunk = cases[start : start + 64]
        rows = torch.zeros(len(chunk), max(len(ids) for ids, _, _ in chunk), dtype=torch.long)
        for row, (ids, _, _) in zip(rows, chunk, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        with torch.no_grad(), autocast(device):
            choices = model(input_ids=rows.to(device), use_cache=False).logits.argmax(-1).cpu()
        for choice, (ids, begin, end) in zip(choices, chunk, strict=True):
            named += choice[begin - 1 : end - 1].tolist() == ids[begin:end]
    model.train()
    return named / len(cases)


def measures(model, held_out, cases, device: str) -> dict[str, float]:
    """What is measured on the way."""
    ppl = perplexity(model, held_out, device)
    return {"heldout_document_perplexity": ppl, "heldout_naming": naming(model, cases, device)}
