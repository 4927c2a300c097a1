"""Block quantisation of weights for com.microsoft.MatMulNBits, 8 or 4 bit, symmetric.

Symmetric blocks were chosen by measurement: with a zero point per block the error of a product
fell by 5 % only (activations are rounded to 8 bit as well) and a product took longer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sllm_export.checkpoint.state_dict import Floats

Codes = NDArray[np.uint8]

INT8_ACCURACY = 4
"""The operator's `accuracy_level` that rounds activations to 8 bit: integer kernels."""
_ROWS_AT_ONCE = 4096
_LEAST_HALF = np.float32(2**-24)
_SHRINKS = (1.0, 0.93, 0.86, 0.79)
"""Scales that are tried for a block of few codes: what clips its largest weight serves the rest."""


def quantize(weight: np.ndarray, bits: int, block: int, half: bool = False) -> tuple[Codes, Floats]:
    """Quantises a float32 [N, K] weight in blocks of K; with `half`, to scales of float16.

    Returns codes u8 [N, blocks, block * bits / 8] with `weight = (code - zero) * scale`, where
    `zero` is the middle of the codes and the lower half of a byte comes first, and scales f32
    [N, blocks]. A last block that K does not fill is padded with what means 0.
    """
    rows, columns = weight.shape
    blocks = -(-columns // block)
    codes = np.empty((rows, blocks, block * bits // 8), dtype=np.uint8)
    scales = np.empty((rows, blocks), dtype=np.float32)
    for start in range(0, rows, _ROWS_AT_ONCE):
        part = np.zeros((min(_ROWS_AT_ONCE, rows - start), blocks * block), dtype=np.float32)
        part[:, :columns] = weight[start : start + len(part)]
        grouped = part.reshape(len(part), blocks, block)
        scale = _scales(grouped, bits)
        if half:
            # The codes are those of the scales that are stored. Below 2^-24 there is none but 0.
            scale = np.maximum(scale, _LEAST_HALF).astype(np.float16).astype(np.float32)
        rounded = _codes(grouped, scale, bits)
        packed = rounded if bits == 8 else rounded[..., ::2] | rounded[..., 1::2] << 4
        codes[start : start + len(part)] = packed
        scales[start : start + len(part)] = scale
    return codes, scales


def dequantize(codes: Codes, scales: Floats, columns: int, bits: int) -> Floats:
    """The float32 [N, columns] weight that `codes` and `scales` stand for."""
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1)
    return _values(codes, scales, bits).reshape(len(codes), -1)[:, :columns]


def _scales(grouped: Floats, bits: int) -> Floats:
    """The scale of each block, [N, blocks, block] -> [N, blocks]."""
    largest: Floats = np.abs(grouped).max(axis=-1) / np.float32(_zero(bits) - 1)
    largest[largest == 0] = 1.0
    if bits == 8:
        return largest
    best, least = largest, np.full(largest.shape, np.inf, dtype=np.float32)
    for shrink in _SHRINKS:
        scale = largest * np.float32(shrink)
        found = _values(_codes(grouped, scale, bits), scale, bits)
        error: Floats = np.square(found - grouped).sum(axis=-1)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def _codes(grouped: Floats, scales: Floats, bits: int) -> Codes:
    zero = _zero(bits)
    rounded: Floats = np.rint(grouped / scales[..., None])
    return (np.clip(rounded, -zero, zero - 1) + np.float32(zero)).astype(np.uint8)


def _values(codes: Codes, scales: Floats, bits: int) -> Floats:
    return (codes.astype(np.float32) - np.float32(_zero(bits))) * scales[..., None]


def _zero(bits: int) -> int:
    return 1 << (bits - 1)
