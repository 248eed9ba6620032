"""`slpo.gradcheck`: this process is the program of `slpo gradcheck --program`, and talks to it by its standard input and output."""

import inspect
import json
import pathlib
import subprocess
import tempfile

from . import _frameworks, _safetensors
from ._binary import Verdict, binary

# A function that is compiled at its first call may take minutes. It runs in this process, so ctrl-C ends a check that takes too long.
TIMEOUT = 3600.0


def gradcheck(fn, inputs, grad=None, *, timeout: float = TIMEOUT) -> Verdict:
    """Holds the gradient of a function to differences of its values, and prints the verdict on each element.

    `inputs` is a list of arrays, `fn(*inputs)`, or a dictionary, `fn(**inputs)`: PyTorch tensors, JAX arrays, NumPy arrays or lists of
    floats. The value may be an array. Its gradient is that of Σ cotangent·value with a fixed random cotangent.

    `grad(cotangent, *inputs)` gives the gradients by hand: a list with one for each input. It is needed for NumPy arrays and lists.
    """
    named = _named(fn, inputs)
    frameworks = {name: _frameworks.of_array(x) for name, x in named.items()}
    devices = {name: getattr(x, "device", None) for name, x in named.items()}
    names = list(named)

    def call(*arrays):
        return fn(**dict(zip(names, arrays))) if isinstance(inputs, dict) else fn(*arrays)

    def answer(request) -> None:
        tensors = _safetensors.read(request["inputs"])
        arrays = [_frameworks.to_array(frameworks[name], tensors[name], devices[name]) for name in names]
        output = {}
        if request["cotangent"] is None:
            value = call(*arrays)
        else:
            cotangent = _safetensors.read(request["cotangent"])["cotangent"]
            value, gradients = _frameworks.value_and_gradients(call, arrays, list(range(len(names))), cotangent, grad)
            output = {f"grad_{name}": _frameworks.to_tensor(x, f"grad_{name}") for name, x in zip(names, gradients)}
        output["value"] = _frameworks.to_tensor(value, "the function's value")
        _safetensors.write(request["output"], output)

    with tempfile.TemporaryDirectory() as folder:
        point = pathlib.Path(folder, "point.safetensors")
        _safetensors.write(point, {name: _frameworks.to_tensor(x, name) for name, x in named.items()})
        verdict = _converse(point, answer, timeout)
    print(verdict.text, end="")
    return verdict


def _named(fn, inputs) -> dict:
    """The inputs by name: the dictionary's names, else the function's own, else input0, input1, …"""
    if isinstance(inputs, dict):
        return inputs
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = []
    names = [x.name for x in parameters if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
    if len(names) < len(inputs):
        names = [f"input{i}" for i in range(len(inputs))]
    return dict(zip(names, inputs))


def _converse(point, answer, timeout: float) -> Verdict:
    """Answers requests until the verdict comes. An exception of the person's function ends the binary and is raised."""
    command = [binary(), "gradcheck", "--program", "-", "--timeout", str(timeout)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, encoding="utf-8")
    text = ""
    try:
        _send(process, {"inputs": str(point)})
        for line in process.stdout:
            if line.startswith('{"inputs"'):
                answer(json.loads(line))
                _send(process, {})
            else:
                text += line
        return Verdict(process.wait() == 0, text)
    finally:
        process.kill()
        process.communicate()


def _send(process, line: dict) -> None:
    try:
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # The binary has ended. Its last lines say why.
