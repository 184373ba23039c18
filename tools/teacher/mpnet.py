"""MPNet (Song et al. 2020, arXiv 2004.09297) as an encoder, with one logit from the mean of its states.

The tensors have the names of the published checkpoint. Relative positions are a bias of the attention, the same in every
layer; its table is not trained on.
"""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

START, PADDING, END = 0, 1, 2
MAX_PIECES = 512


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.o = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-5)
        self.intermediate = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:  # [B, L, W], [B, heads, L, L]
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, L, W / heads] each
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        mixed = self.o(mixed.transpose(1, 2).reshape(batch, length, width))
        x = self.attention_norm(x + F.dropout(mixed, self.dropout, self.training))
        inner = self.output(F.gelu(self.intermediate(x)))
        return self.output_norm(x + F.dropout(inner, self.dropout, self.training))


class Teacher(nn.Module):
    """One logit a text: the more positive, the more positive."""

    def __init__(self, layers=12, width=768, heads=12, inner=3072, vocabulary=30527, positions=514, dropout=0.1):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.layers = nn.ModuleList(Layer(width, heads, inner, dropout) for _ in range(layers))
        self.register_buffer("relative", torch.zeros(32, heads))
        self.classifier = nn.Linear(width, 1)
        self.dropout = dropout
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, ids: Tensor) -> Tensor:  # [B, L], padded with PADDING -> [B]
        real = ids != PADDING
        # Positions are counted from 2 on: 1 is padding's.
        places = (torch.cumsum(real, dim=1) * real) + 1
        x = self.norm(self.words(ids) + self.positions(places))
        x = F.dropout(x, self.dropout, self.training)
        bias = self.relative[buckets(ids.shape[1], ids.device)].permute(2, 0, 1)  # [heads, L, L]
        masked = torch.zeros(ids.shape, dtype=x.dtype, device=ids.device).masked_fill(~real, float("-inf"))
        bias = bias.to(x.dtype)[None] + masked[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        weight = real.to(torch.float32)
        mean = torch.einsum("blw,bl->bw", x.float(), weight) / weight.sum(1, keepdim=True)
        mean = F.dropout(mean, self.dropout, self.training)
        return F.linear(mean, self.classifier.weight.float(), self.classifier.bias.float()).squeeze(1)

    def load_published(self, tensors: dict[str, Tensor]) -> None:
        """Takes in the encoder of a published checkpoint; the classifier stays as it is."""
        named = {
            "words.weight": tensors["embeddings.word_embeddings.weight"],
            "positions.weight": tensors["embeddings.position_embeddings.weight"],
            "norm.weight": tensors["embeddings.LayerNorm.weight"],
            "norm.bias": tensors["embeddings.LayerNorm.bias"],
            "relative": tensors["encoder.relative_attention_bias.weight"],
        }
        for at in range(len(self.layers)):
            theirs, ours = f"encoder.layer.{at}.", f"layers.{at}."
            for kind in ("weight", "bias"):
                qkv = [tensors[f"{theirs}attention.attn.{part}.{kind}"] for part in "qkv"]
                named[f"{ours}qkv.{kind}"] = torch.cat(qkv)
                named[f"{ours}o.{kind}"] = tensors[f"{theirs}attention.attn.o.{kind}"]
                named[f"{ours}attention_norm.{kind}"] = tensors[f"{theirs}attention.LayerNorm.{kind}"]
                named[f"{ours}intermediate.{kind}"] = tensors[f"{theirs}intermediate.dense.{kind}"]
                named[f"{ours}output.{kind}"] = tensors[f"{theirs}output.dense.{kind}"]
                named[f"{ours}output_norm.{kind}"] = tensors[f"{theirs}output.LayerNorm.{kind}"]
        missing, unknown = self.load_state_dict({name: value.float() for name, value in named.items()}, strict=False)
        assert not unknown and all(name.startswith("classifier.") for name in missing), (missing, unknown)


def buckets(length: int, device: torch.device) -> Tensor:
    """The row of the table of relative positions for each pair of places, [L, L]."""
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    before = distance < 0
    distance = distance.abs()
    # 8 single distances, then 8 that grow up to 128, in each direction.
    far = 8 + (torch.log(distance.clamp(min=1).float() / 8) / math.log(128 / 8) * 8).long()
    return torch.where(distance < 8, distance, far.clamp(max=15)) + 16 * before


def published(path: str) -> dict[str, Tensor]:
    return load_file(path)
