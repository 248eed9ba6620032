"""Safetensors files, written and read by hand: the length of a JSON header, the header, and the bytes of the arrays."""

import array
import json
import math
import struct
import sys
from typing import NamedTuple

# Each type's code in the module `array`. BOOL is one byte an element.
CODES = {"F64": "d", "F32": "f", "I64": "q", "BOOL": "B"}


class Tensor(NamedTuple):
    """The elements of an array in row-major order, with their type and the extents of the axes."""

    dtype: str
    shape: tuple
    values: list


def write(path, tensors: dict) -> None:
    """Writes tensors by name."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        elements = array.array(CODES[tensor.dtype], tensor.values)
        if sys.byteorder == "big":
            elements.byteswap()
        start, data = len(data), data + elements.tobytes()
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path) -> dict:
    """Reads the tensors of a file by name."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        elements = array.array(CODES[entry["dtype"]], data[start:end])
        if sys.byteorder == "big":
            elements.byteswap()
        assert len(elements) == math.prod(entry["shape"])
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), elements.tolist())
    return tensors
