"""The networks of make_method_curves.py: tiny vision transformers of three generations and projection heads in plain PyTorch, written from the published
descriptions, with the parameter names of the official state dicts (dino_family: DINO, iBOT, DINOv2, DINOv3; BYOL)."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads, mask_key_bias):
        super().__init__()
        self.heads, self.mask_key_bias = heads, mask_key_bias
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, rotate):
        batch, tokens, dim = x.shape
        bias = self.qkv.bias
        if self.mask_key_bias:
            bias = bias * torch.tensor([1.0, 0.0, 1.0], dtype=bias.dtype).repeat_interleave(dim)
        q, k, v = (t.reshape(batch, tokens, self.heads, -1).transpose(1, 2) for t in F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1))
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(dim // self.heads), dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))


class Scale(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.gamma


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads, layer_scale, eps, mask_key_bias):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=eps), Attention(dim, heads, mask_key_bias)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=eps), Mlp(dim)
        self.ls1, self.ls2 = (Scale(dim), Scale(dim)) if layer_scale else (nn.Identity(), nn.Identity())

    def forward(self, x, rotate, gains=(1.0, 1.0)):
        """gains: of the two branches, a number or one for each row [rows, 1, 1] (stochastic depth)."""
        x = x + gains[0] * self.ls1(self.attn(self.norm1(x), rotate))
        return x + gains[1] * self.ls2(self.mlp(self.norm2(x)))


def rotation(side, head_dim, prefix, dtype):
    """DINOv3's rotary positions on a square grid: angles of the row, then of the column, the same for both halves of a head; the prefix stays."""
    periods = 100.0 ** (4.0 * torch.arange(head_dim // 4, dtype=torch.float64) / head_dim)
    centres = 2.0 * (torch.arange(side, dtype=torch.float64) + 0.5) / side - 1.0
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    angles = 2.0 * math.pi * torch.cat([axis.reshape(-1, 1) / periods for axis in (rows, columns)], dim=1).repeat(1, 2)  # [N, head_dim]
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def rotate(x):
        patches = x[:, :, prefix:]
        first, second = patches.chunk(2, dim=-1)
        return torch.cat([x[:, :, :prefix], patches * cos + torch.cat([-second, first], dim=-1) * sin], dim=2)

    return rotate


class Vit(nn.Module):
    """images [B, 3, S, S] -> normalised CLS [B, D] and patches [B, N, D]."""

    def __init__(self, dim, depth, heads, patch, image, mask_token=False, layer_scale=False, rope=False, registers=0, eps=1e-6):
        super().__init__()
        self.patch, self.heads, self.rope, self.registers = patch, heads, rope, registers
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        if not rope:
            self.pos_embed = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, dim))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, dim))
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
        self.blocks = nn.ModuleList(Block(dim, heads, layer_scale, eps, mask_key_bias=rope) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=eps)

    def positions(self, side):
        """Bicubic with a tenth of a patch added to the target side, as published."""
        cls, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        own = math.isqrt(grid.shape[1])
        if side == own:
            return cls, grid
        grid = grid.reshape(1, own, own, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=((side + 0.1) / own, (side + 0.1) / own), mode="bicubic")
        assert grid.shape[-2:] == (side, side)
        return cls, grid.flatten(2).transpose(1, 2)

    def forward(self, images, masked=None, gains=None):
        """masked: [B, N] bool; gains: [depth, 2, B], what each row's branches are multiplied with."""
        side = images.shape[-1] // self.patch
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        if masked is not None:
            x = torch.where(masked[:, :, None], self.mask_token[None], x)
        cls, rotate = self.cls_token, None
        if self.rope:
            rotate = rotation(side, x.shape[-1] // self.heads, 1 + self.registers, x.dtype)
        else:
            cls_position, positions = self.positions(side)
            cls, x = cls + cls_position, x + positions
        prefix = [cls] + ([self.register_tokens] if self.registers else [])
        x = torch.cat([t.expand(len(images), -1, -1) for t in prefix] + [x], dim=1)
        for number, block in enumerate(self.blocks):
            x = block(x, rotate) if gains is None else block(x, rotate, gains[number].to(x.dtype)[:, :, None, None])
        x = self.norm(x)
        return x[:, 0], x[:, 1 + self.registers:]


class WeightNormed(nn.Module):
    """Linear without bias whose rows are gain times direction."""

    def __init__(self, width, out):
        super().__init__()
        self.weight_g, self.weight_v = nn.Parameter(torch.ones(out, 1)), nn.Parameter(torch.zeros(out, width))

    def forward(self, x):
        return F.linear(x, self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True))


class DinoHead(nn.Module):
    """Without prototypes (0) it ends with the normalised rows."""

    def __init__(self, width, prototypes, hidden, bottleneck, weight_norm=True, layers=3, batch_norm=False):
        super().__init__()
        behind = lambda: (nn.BatchNorm1d(hidden), nn.GELU()) if batch_norm else (nn.GELU(),)  # noqa: E731
        between = [part for _ in range(layers - 2) for part in (nn.Linear(hidden, hidden), *behind())]
        self.mlp = nn.Sequential(nn.Linear(width, hidden), *behind(), *between, nn.Linear(hidden, bottleneck))
        if prototypes == 0:
            self.last_layer = nn.Identity()
        else:
            self.last_layer = WeightNormed(bottleneck, prototypes) if weight_norm else nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))


class MlpHead(nn.Module):
    def __init__(self, width, hidden, out, layers=2, output_bias=True, norm_output=False):
        super().__init__()
        widths = [width] + [hidden] * (layers - 1)
        hidden_layers = [part for i in range(layers - 1) for part in (nn.Linear(widths[i], hidden), nn.BatchNorm1d(hidden), nn.ReLU())]
        last = [nn.Linear(widths[-1], out, bias=output_bias and not norm_output)] + ([nn.BatchNorm1d(out)] if norm_output else [])
        self.mlp = nn.Sequential(*hidden_layers, *last)

    def forward(self, x):
        return self.mlp(x)
