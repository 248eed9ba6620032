"""Checks a loss or the gradient of any function with the `slpo` binary, which this package carries.

    import slpo

    slpo.verify(my_dpo_loss, "dpo", beta=0.1)
    slpo.gradcheck(my_function, [x, w])

Functions of PyTorch tensors and of JAX arrays are differentiated here. For NumPy arrays and plain lists, give the gradient by hand.
"""

from ._binary import Verdict, binary
from ._gradcheck import gradcheck
from ._verify import verify

__all__ = ["Verdict", "binary", "gradcheck", "verify"]
