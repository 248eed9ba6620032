"""What the Python package `slpo` does, on plain lists with gradients by hand, and with PyTorch, JAX and NumPy where they are installed.

    PYTHONPATH=cli/python SLPO=target/debug/slpo python3 tests/python/checks.py
"""

import contextlib
import importlib
import importlib.util
import io
import math
import pathlib
import tempfile
import unittest

import slpo


def quietly(function, *arguments, **settings):
    """Calls a function. Returns what it returns, and checks that what it printed is the text of the verdict."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        verdict = function(*arguments, **settings)
    assert printed.getvalue() == verdict.text, printed.getvalue()
    return verdict


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def margins(w, l, rw, rl):
    return [(a - c) - (b - d) for a, b, c, d in zip(w, l, rw, rl)]


def dpo(w, l, rw, rl, beta=0.1):
    return sum(math.log1p(math.exp(-beta * m)) for m in margins(w, l, rw, rl)) / len(w)


def dpo_slopes(w, l, rw, rl, beta=0.1):
    slopes = [-beta * sigmoid(-beta * m) / len(w) for m in margins(w, l, rw, rl)]
    return [slopes, [-x for x in slopes]]


class Verify(unittest.TestCase):
    def test_a_right_loss_passes(self):
        verdict = quietly(slpo.verify, dpo, "dpo", beta=0.1, grad=dpo_slopes)
        self.assertTrue(verdict and verdict.ok, verdict.text)
        self.assertIn("grad_policy_chosen_logps", verdict.text)

    def test_a_setting_goes_to_the_parameter_of_its_name_too(self):
        with_beta = lambda w, l, rw, rl: dpo_slopes(w, l, rw, rl, 0.3)
        self.assertTrue(quietly(slpo.verify, dpo, "dpo", beta=0.3, grad=with_beta))

    def test_mistakes_are_named(self):
        def rejected_is_detached(*x):
            return [dpo_slopes(*x)[0], [0.0] * len(x[0])]

        def sum_of_pairs(*x):
            return dpo(*x) * len(x[0])

        def without_beta(*x):
            return dpo(*x, 1.0)

        mistakes = [
            (dpo, rejected_is_detached, "no gradient reaches policy_rejected_logps", "exactly 0"),
            (sum_of_pairs, lambda *x: [[g * len(x[0]) for g in side] for side in dpo_slopes(*x)], "a sum", "mean"),
            (without_beta, lambda *x: dpo_slopes(*x, 1.0), "β is missing", ""),
        ]
        for loss, grad, *words in mistakes:
            verdict = quietly(slpo.verify, loss, "dpo", beta=0.1, grad=grad)
            self.assertFalse(verdict)
            explanation = verdict.text.split("error: ")[1]
            self.assertTrue(all(word in explanation for word in words), explanation)

    def test_the_names_of_parameters_say_what_a_loss_gets(self):
        def simpo(chosen, rejected, chosen_lengths, rejected_lengths):
            terms = [2 * (a / m - b / n) - 1.0 for a, b, m, n in zip(chosen, rejected, chosen_lengths, rejected_lengths)]
            return sum(math.log1p(math.exp(-x)) for x in terms) / len(terms)

        def slopes(a, b, m, n):
            outer = [-2 * sigmoid(1.0 - 2 * (p / x - q / y)) / len(a) for p, q, x, y in zip(a, b, m, n)]
            return [[o / x for o, x in zip(outer, m)], [-o / y for o, y in zip(outer, n)]]

        verdict = quietly(slpo.verify, simpo, "simpo", beta=2.0, gamma=1.0, grad=slopes)
        self.assertTrue(verdict, verdict.text)

        def apo(policy_logps, reference_logps, label):
            values = [sigmoid(0.1 * (p - r)) for p, r in zip(policy_logps, reference_logps)]
            return sum(1 - s if y else s for s, y in zip(values, label)) / len(label)

        def slope(p, r, label):
            values = [sigmoid(0.1 * (a - b)) for a, b in zip(p, r)]
            return [[(-0.1 if y else 0.1) * s * (1 - s) / len(label) for s, y in zip(values, label)]]

        verdict = quietly(slpo.verify, apo, "apo-zero-unpaired", beta=0.1, grad=slope)
        self.assertTrue(verdict, verdict.text)

    def test_the_dump_can_be_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "dump.safetensors")
            quietly(slpo.verify, dpo, "dpo", grad=dpo_slopes, file=path)
            self.assertGreater(path.stat().st_size, 300)

    def test_calls_that_cannot_be_meant_are_refused(self):
        with self.assertRaisesRegex(ValueError, "nonsense"):
            slpo.verify(dpo, "dpo", nonsense=3, grad=dpo_slopes)
        with self.assertRaisesRegex(ValueError, "return the loss alone"):
            slpo.verify(margins, "dpo", grad=dpo_slopes)
        with self.assertRaisesRegex(ValueError, "give grad="):
            slpo.verify(dpo, "dpo", framework="lists")
        with self.assertRaisesRegex(ValueError, "stands for nothing"):
            slpo.verify(lambda a, b, c, d, e: 0.0, "dpo", grad=dpo_slopes)


class Gradcheck(unittest.TestCase):
    def test_right_wrong_and_unchecked(self):
        def f(x):
            return math.sin(x[0]) * x[1] + abs(x[2])

        def grad(v, x, factor=1.0):
            return [[v * math.cos(x[0]) * x[1] * factor, v * math.sin(x[0]), 0.0]]

        right = quietly(slpo.gradcheck, f, [[0.5, 2.0, 0.0]], grad)
        self.assertTrue(right.ok, right.text)
        self.assertIn("2 right, 0 wrong, 1 unchecked; numbers in f64", right.text)
        wrong = quietly(slpo.gradcheck, f, [[0.5, 2.0, 0.0]], lambda v, x: grad(v, x, 1.01))
        self.assertFalse(wrong.ok)
        self.assertIn("1 right, 1 wrong, 1 unchecked", wrong.text)
        self.assertIn("grad_x[0] is 1.77", wrong.text)

    def test_two_inputs_by_name_with_an_array_as_value(self):
        def product(x, w):
            return [sum(a * b for a, b in zip(row, x)) for row in w]

        def grad(v, x, w):
            return [[sum(v[i] * w[i][j] for i in range(3)) for j in range(2)], [[v[i] * x[j] for j in range(2)] for i in range(3)]]

        inputs = {"x": [0.5, -1.5], "w": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}
        verdict = quietly(slpo.gradcheck, product, inputs, grad)
        self.assertIn("8 right, 0 wrong", verdict.text)
        self.assertIn("w[2, 1]", verdict.text)

    def test_what_the_function_prints_is_no_answer_and_what_it_raises_is_raised(self):
        def talks(x):
            print("hello")
            return x * x

        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(slpo.gradcheck(talks, [1.5], lambda v, x: [2 * x * v]))

        def fails(x):
            raise ZeroDivisionError("mine")

        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            slpo.gradcheck(fails, [1.5], lambda v, x: [0.0])

    def test_a_value_that_is_not_finite_is_said(self):
        verdict = quietly(slpo.gradcheck, lambda x: math.nan, [1.5], lambda v, x: [0.0])
        self.assertIn("`value` is NaN", verdict.text)
        self.assertFalse(verdict)

    def test_numpy_arrays_in_f32(self):
        if importlib.util.find_spec("numpy") is None:
            self.skipTest("NumPy is not installed")
        import numpy

        x = numpy.array([[0.5, -1.0], [2.0, 0.3]], dtype="float32")
        for factor, ok in [(1.0, True), (1.02, False)]:
            grad = lambda v, x: factor * v * (1 - numpy.tanh(x) ** 2)
            verdict = quietly(slpo.gradcheck, lambda x: numpy.tanh(x), [x], grad)
            self.assertEqual(verdict.ok, ok, verdict.text)
            self.assertIn("numbers in f32", verdict.text)


class WithAutograd(unittest.TestCase):
    """The same checks of each framework that differentiates by itself."""

    def check(self, framework, log_sigmoid, detached, array):
        def loss(w, l, rw, rl, beta):
            return -log_sigmoid(beta * ((w - rw) - (l - rl))).mean()

        def with_detached_rejected(w, l, rw, rl, beta):
            return loss(w, detached(l), rw, rl, beta)

        right = quietly(slpo.verify, loss, "dpo", beta=0.1, framework=framework)
        self.assertTrue(right, right.text)
        wrong = quietly(slpo.verify, with_detached_rejected, "dpo", beta=0.1, framework=framework)
        self.assertIn("no gradient reaches policy_rejected_logps", wrong.text.split("error: ")[1])
        x, w = array([0.5, -1.5]), array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        self.assertTrue(quietly(slpo.gradcheck, lambda x, w: w @ x, [x, w]))
        kink = quietly(slpo.gradcheck, lambda x: abs(x).sum(), [array([0.0, 1.0])])
        self.assertIn("1 right, 0 wrong, 1 unchecked", kink.text)
        wrong = quietly(slpo.gradcheck, lambda x: (x * detached(x)).sum(), [x])
        self.assertIn("0 right, 2 wrong", wrong.text)

    def test_torch(self):
        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed")
        import torch

        array = lambda values: torch.tensor(values, dtype=torch.float64)
        self.check("torch", torch.nn.functional.logsigmoid, lambda x: x.detach(), array)

    def test_jax(self):
        if importlib.util.find_spec("jax") is None:
            self.skipTest("JAX is not installed")
        import jax

        for wide in (True, False):
            jax.config.update("jax_enable_x64", wide)
            self.check("jax", jax.nn.log_sigmoid, jax.lax.stop_gradient, jax.numpy.array)


if __name__ == "__main__":
    unittest.main()
