"""Arrays and gradients of PyTorch, JAX, NumPy and plain lists behind four functions. None of them is imported unless it is used."""

import math
import sys

from ._safetensors import Tensor

DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "bool": "BOOL"}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def of_array(value) -> str:
    """Returns the framework of an array: torch, jax, numpy or lists."""
    package = type(value).__module__.split(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax", "numpy": "numpy"}.get(package, "lists")


def imported() -> str:
    """Returns the first framework that the program has imported, or lists."""
    return next((name for name in ("torch", "jax", "numpy") if name in sys.modules), "lists")


def to_array(framework: str, tensor: Tensor, device=None):
    """Makes a framework's array. A scalar of the framework `lists` is a number."""
    name = NAMES[tensor.dtype]
    if framework == "torch":
        import torch

        return torch.tensor(tensor.values, dtype=getattr(torch, name), device=device).reshape(tensor.shape)
    if framework == "jax":
        import jax

        # Without jax_enable_x64 this is the 32-bit type of the same kind.
        return jax.numpy.array(tensor.values, dtype=jax.dtypes.canonicalize_dtype(name)).reshape(tensor.shape)
    if framework == "numpy":
        import numpy

        return numpy.array(tensor.values, dtype=name).reshape(tensor.shape)
    return _nested(tensor.values, tensor.shape)


def to_tensor(value, name: str) -> Tensor:
    """Reads an array of any framework, a number or nested lists. `name` is for messages."""
    if hasattr(value, "tolist"):
        dtype = str(value.dtype).split(".")[-1]
        if dtype not in DTYPES:
            raise TypeError(f"{name} is {dtype}: give float64 or float32")
        return Tensor(DTYPES[dtype], tuple(value.shape), _flat(value.tolist()))
    values, shape, part = _flat(value), [], value
    while isinstance(part, (list, tuple)):
        shape.append(len(part))
        part = part[0] if part else None
    if math.prod(shape) != len(values) or not all(isinstance(x, (int, float)) for x in values):
        raise TypeError(f"{name} is a {type(value).__name__} that is neither an array, nor a number, nor lists of equal lengths")
    return Tensor("F64", tuple(shape), values)


def value_and_gradients(function, arrays: list, moving: list, cotangent=None, grad=None):
    """Calls a function. Returns its value, and the gradients of Σ cotangent·value with respect to the arrays at the places `moving`.

    The cotangent is a `Tensor`; without one it is 1 and the value one number. `grad` replaces the framework's own gradients, and returns a
    list with one for each place (or one array, if there is one place).
    """
    framework = of_array(arrays[moving[0]])
    if grad is not None:
        value = function(*arrays)
        gradients = grad(*arrays) if cotangent is None else grad(to_array(framework, cotangent), *arrays)
        gradients = list(gradients) if isinstance(gradients, (list, tuple)) else [gradients]
        if len(gradients) != len(moving):
            raise ValueError(f"grad gave {len(gradients)} gradients, but there are {len(moving)} arrays to differentiate by: give a list")
        return value, gradients
    if framework == "torch":
        return _torch(function, arrays, moving, cotangent)
    if framework == "jax":
        return _jax(function, arrays, moving, cotangent)
    raise ValueError(f"there are no gradients of {framework}: give grad=, or use PyTorch or JAX")


def _torch(function, arrays, moving, cotangent):
    import torch

    leaves = [x.detach().clone().requires_grad_() if place in moving else x for place, x in enumerate(arrays)]
    value = function(*leaves)
    if not torch.is_tensor(value):
        raise TypeError(f"the function returned a {type(value).__name__}, through which no gradient goes: return the tensor")
    sources = [leaves[place] for place in moving]
    if not value.requires_grad:
        return value, [torch.zeros_like(x) for x in sources]
    weights = torch.ones_like(value) if cotangent is None else to_array("torch", cotangent, value.device).to(value.dtype)
    gradients = torch.autograd.grad(value, sources, grad_outputs=weights, allow_unused=True)
    return value, [torch.zeros_like(x) if g is None else g for x, g in zip(sources, gradients)]


def _jax(function, arrays, moving, cotangent):
    import jax

    def of_moving(*moved):
        replaced = dict(zip(moving, moved))
        return function(*(replaced.get(place, x) for place, x in enumerate(arrays)))

    value, pull_back = jax.vjp(of_moving, *(arrays[place] for place in moving))
    weights = jax.numpy.ones_like(value) if cotangent is None else to_array("jax", cotangent).astype(value.dtype)
    return value, list(pull_back(weights))


def _flat(value) -> list:
    return [x for part in value for x in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _nested(values, shape):
    if not shape:
        return values[0]
    size = len(values) // shape[0] if shape[0] else 0
    return [_nested(values[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]
