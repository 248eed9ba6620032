"""`slpo.verify`: draws the arguments of a loss, runs a person's function on them, and holds loss and gradients to the binary's own."""

import inspect
import pathlib
import random
import subprocess
import tempfile

from . import _frameworks, _safetensors
from ._binary import Verdict, binary
from ._safetensors import Tensor

# What a parameter of another name stands for, in the order of the parameters.
IN_ORDER = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
# The arguments that a loss is differentiated by.
MOVING = ("policy_chosen_logps", "policy_rejected_logps", "policy_logps", "logits")

REAL = {"F64", "F32"}


def verify(
    loss_fn, loss: str, *, grad=None, rows: int = 8, seed: int = 0, dtype: str = "float64", framework=None, file=None, **settings
) -> Verdict:
    """Checks a loss and its gradients against slpo's loss of this name, and prints the verdict.

    The names of the function's parameters say what it gets: those of `slpo verify --help`, such as `policy_chosen_logps`,
    `chosen_lengths`, `label` or `logits`. Parameters of other names get, in this order, the log-probabilities of policy (chosen,
    rejected) and reference (chosen, rejected). The function returns one number, the mean over the pairs.

    `settings` are the loss' own (`beta=0.1`). The function gets those that it has a parameter for.
    `framework` is "torch", "jax", "numpy" or "lists": by default the first that is imported.
    `grad(*arguments)` gives the gradients by hand: a list with one for each differentiated argument. `file` keeps the dump.
    """
    framework = framework or _frameworks.imported()
    drawn = _drawn(random.Random(seed), rows, _frameworks.DTYPES[dtype])
    parameters, own = _parameters(loss_fn, settings, drawn)
    tensors = {name: drawn[name] for _, name in parameters}
    arrays = [_frameworks.to_array(framework, tensor) for tensor in tensors.values()]
    moving = [place for place, name in enumerate(tensors) if name in MOVING]
    if not moving:
        raise ValueError(f"the function has none of {', '.join(MOVING)}: there is nothing to differentiate by")

    def call(*arrays):
        pairs = [(parameter, x) for (parameter, _), x in zip(parameters, arrays)]
        in_order = [x for parameter, x in pairs if parameter is None]
        return loss_fn(*in_order, **{parameter: x for parameter, x in pairs if parameter is not None}, **own)

    value, gradients = _frameworks.value_and_gradients(call, arrays, moving, None, grad)
    # A framework may have rounded what was drawn: JAX without jax_enable_x64 computes in f32.
    dump = {name: _frameworks.to_tensor(x, name) if drawn[name].dtype in REAL else drawn[name] for name, x in zip(tensors, arrays)}
    dump["loss"] = _one_number(_frameworks.to_tensor(value, "the loss"))
    for place, gradient in zip(moving, gradients):
        name = f"grad_{list(tensors)[place]}"
        dump[name] = _frameworks.to_tensor(gradient, name)
    flags = [word for name, setting in settings.items() for word in _flag(name, setting)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(file).absolute() if file else pathlib.Path(folder, "dump.safetensors")
        _safetensors.write(path, dump)
        # Run in the folder, so that messages name the file and not a temporary path.
        command = [binary(), "verify", str(path) if file else path.name, "--loss", loss, *flags]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", cwd=folder)
    if done.returncode == 2:
        raise ValueError(done.stdout.strip())
    print(done.stdout, end="")
    return Verdict(done.returncode == 0, done.stdout)


def _parameters(loss_fn, settings: dict, drawn: dict):
    """Pairs of a parameter and the tensor it gets, and the settings that the function takes. A parameter None is given by its place."""
    try:
        parameters = list(inspect.signature(loss_fn).parameters.values())
    except (TypeError, ValueError):
        return [(None, name) for name in IN_ORDER], {}
    own = {x.name: settings[x.name] for x in parameters if x.name in settings}
    if any(x.kind == x.VAR_POSITIONAL for x in parameters):
        return [(None, name) for name in IN_ORDER], own
    needed = [x for x in parameters if x.default is x.empty and x.name not in own and x.kind != x.VAR_KEYWORD]
    rest = iter([name for name in IN_ORDER if name not in [x.name for x in needed]])
    pairs = []
    for x in needed:
        name = x.name if x.name in drawn else next(rest, None)
        if name is None:
            raise ValueError(f"the parameter {x.name} stands for nothing that is drawn: give it a default, or one of the names {', '.join(drawn)}")
        pairs.append((None if x.kind == x.POSITIONAL_ONLY else x.name, name))
    return pairs, own


def _drawn(draw: random.Random, rows: int, dtype: str) -> dict:
    """Everything that a function may ask for: sums of log-probabilities near those of answers of 5 to 40 tokens, and small logits."""
    tensors = {}

    def real(name: str, shape: tuple, number) -> list:
        count = 1
        for extent in shape:
            count *= extent
        tensors[name] = Tensor(dtype, shape, [number(i) for i in range(count)])
        return tensors[name].values

    def whole(name: str, shape: tuple, numbers: list, kind: str = "I64") -> None:
        tensors[name] = Tensor(kind, shape, numbers)

    for side in ("chosen_", "rejected_", ""):
        reference = real(f"reference_{side}logps", (rows,), lambda i: -draw.uniform(10, 40))
        real(f"policy_{side}logps", (rows,), lambda i: reference[i] * draw.uniform(0.8, 1.2))
        if side:
            whole(f"{side}lengths", (rows,), [max(2, round(-x / draw.uniform(1, 3))) for x in reference])
            real(f"{side}weights", (rows,), lambda i: draw.uniform(0.2, 1))
            real(f"{side}divergences", (rows,), lambda i: draw.uniform(0, 2))
    whole("label", (rows,), [i % 2 == 0 for i in range(rows)], "BOOL")
    real("kl", (), lambda i: draw.uniform(0, 1))
    length, vocabulary = 3, 5
    tokens = [draw.sample(range(vocabulary), 2) for _ in range(rows * length)]
    real("logits", (rows, length, vocabulary), lambda i: draw.gauss(0, 1))
    whole("y_w", (rows, length), [w for w, _ in tokens])
    whole("y_l", (rows, length), [l for _, l in tokens])
    for name in ("w_w", "w_l"):
        real(name, (rows, length), lambda i: draw.uniform(0, 1))
    return tensors


def _one_number(loss: Tensor) -> Tensor:
    if len(loss.values) != 1:
        raise ValueError(f"the function returned an array of shape {list(loss.shape)}: return the loss alone, the mean over the pairs")
    return Tensor(loss.dtype, (), loss.values)


def _flag(name: str, setting) -> list:
    """A setting as words of the command line: True is a flag alone, and False none."""
    flag = "--" + name.replace("_", "-")
    return [flag] * setting if isinstance(setting, bool) else [flag, str(setting)]
