"""A program for `slpo gradcheck --program` that uses nothing but the standard library: Σ x³, and its gradient.

    slpo gradcheck --program 'python3 program.py'

An argument multiplies the gradient of the first element.
"""

import json
import struct
import sys


def read(path):
    """The elements of the only tensor of a safetensors file of f64."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        file.read(length)
        data = file.read()
    return struct.unpack(f"<{len(data) // 8}d", data)


def write(path, tensors):
    """Writes vectors of f64, and numbers as scalars."""
    header, data = {}, b""
    for name, values in tensors.items():
        shape = [len(values)] if isinstance(values, list) else []
        start = len(data)
        data += struct.pack(f"<{len(values) if shape else 1}d", *(values if shape else [values]))
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


factor = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
print(json.dumps({"inputs": {"x": [3]}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    x = read(request["inputs"])
    output = {"value": sum(a**3 for a in x)}
    if request["cotangent"]:
        (v,) = read(request["cotangent"])
        output["grad_x"] = [v * 3 * a**2 * (factor if i == 0 else 1.0) for i, a in enumerate(x)]
    write(request["output"], output)
    print("{}", flush=True)
