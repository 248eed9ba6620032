// Storage and elementwise kernels that are not made from a formula: fills, strided copies, scaling, the gated linear unit, rotation.

struct Strided {
    Long shape[8];
    Long strides[8];
    int rank;
};

// The position of the i-th element in row-major order.
__device__ inline Long position(const Strided& view, Long i) {
    Long offset = 0;
    for (int axis = view.rank - 1; axis >= 0; --axis) {
        offset += i % view.shape[axis] * view.strides[axis];
        i /= view.shape[axis];
    }
    return offset;
}

KERNEL fill(float* y, float value, Long n) {
    FOR_EACH(i, n) y[i] = value;
}

KERNEL copy_strided(float* y, const float* x, Strided view, Long n) {
    FOR_EACH(i, n) y[i] = x[position(view, i)];
}

// One part of a concatenation: rows of `width` go to column `first` of rows of `total`.
KERNEL copy_part(float* y, const float* x, Long width, Long total, Long first, Long n) {
    FOR_EACH(i, n) y[i / width * total + first + i % width] = x[i];
}

KERNEL scale(float* y, const float* x, float c, Long n) {
    FOR_EACH(i, n) y[i] = c * x[i];
}

KERNEL scale_by(float* y, const float* x, const float* c, Long n) {
    FOR_EACH(i, n) y[i] = x[i] * c[0];
}

// y may be x.
KERNEL accumulate(float* y, const float* x, const float* addend, Long n) {
    FOR_EACH(i, n) y[i] = x[i] + addend[i];
}

KERNEL swiglu(float* y, const float* gate, const float* up, Long n) {
    FOR_EACH(i, n) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

KERNEL swiglu_vjp(float* gate_bar, float* up_bar, const float* gate, const float* up, const float* y_bar, Long n) {
    FOR_EACH(i, n) {
        float s = sigmoid(gate[i]), silu = gate[i] * s;
        gate_bar[i] = (s + silu * (1.0f - s)) * up[i] * y_bar[i];
        up_bar[i] = silu * y_bar[i];
    }
}

// x [N, heads, width]; cos and sin [N, pairs]. adjacent: pairs (2i, 2i + 1), else (i, i + pairs).
KERNEL rope(float* y, const float* x, const float* cosine, const float* sine, int heads, int width, int pairs, int adjacent, Long n) {
    FOR_EACH(i, n) {
        int d = (int)(i % width);
        Long token = i / width / heads;
        if (d >= 2 * pairs) {
            y[i] = x[i];
            continue;
        }
        int pair = adjacent ? d / 2 : d % pairs;
        bool first = adjacent ? d % 2 == 0 : d < pairs;
        int step = adjacent ? 1 : pairs;
        float c = cosine[token * pairs + pair], s = sine[token * pairs + pair];
        y[i] = first ? x[i] * c - x[i + step] * s : x[i] * c + x[i - step] * s;
    }
}
