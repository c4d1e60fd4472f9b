"""The loss, with logits only where a token is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sekft_engine.sft.data import TrainRow

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

#: (token ids [B, T], rows [N], columns [N]) -> logits [N, V] at those places.
Selected = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]


def token_losses(
    selected: Selected, rows: Sequence[TrainRow], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every trained token, in nats [N], and the row each belongs to [N].

    Rows are padded on the right: no token looks ahead, so padding changes no result and needs no
    attention mask.
    """
    import torch
    import torch.nn.functional as functional

    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row.ids
    columns = np.concatenate([row.at for row in rows]).astype(np.int64)
    owners = np.repeat(np.arange(len(rows)), [row.trained for row in rows])
    targets = torch.from_numpy(ids[owners, columns + 1]).to(device)
    at = torch.from_numpy(owners).to(device), torch.from_numpy(columns).to(device)
    # The last token of the longest row is only ever a target.
    logits = selected(torch.from_numpy(ids[:, : longest - 1]).to(device), *at)
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    return losses, at[0]


def selected_logits(model: PreTrainedModel) -> Selected:
    """The cheapest right way to get this model's logits at chosen places.

    That is the decoder, then the head on the chosen places alone. A model that does more to its
    logits than the head (scaling, soft caps) is noticed by comparing once, and asked as a whole.
    """
    import torch

    decoder, head = model.base_model, model.get_output_embeddings()

    def by_head(ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
        logits: Tensor = head(hidden[rows, columns])
        return logits

    def by_model(ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        keep, place = torch.unique(columns, return_inverse=True)
        logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
        return logits[rows, place]

    device = next(model.parameters()).device
    probe = torch.arange(1, 9, device=device).reshape(1, 8) % model.config.vocab_size
    places = torch.zeros(2, dtype=torch.long, device=device), torch.tensor([3, 7], device=device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            same = torch.allclose(
                by_head(probe, *places).float(), by_model(probe, *places).float(), atol=1e-3
            )
    finally:
        model.train(training)
    return by_head if same else by_model
