// Storage, and elementwise kernels that are not generated from a formula: fills, strided copies, scaling, the gated linear unit, rotation.

// Returns the offset of the i-th element in row-major order.
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

template <class Y, class X>
__device__ inline void copy_view(Y* y, const X* x, const Strided& view, Long n) {
    FOR_EACH(i, n) {
        float value[1];
        load(value, x + position(view, i));
        store(y + i, value);
    }
}

#define COPY_STRIDED(name, Y, X) \
    KERNEL name(Y* y, const X* x, Strided view, Long n) { copy_view(y, x, view, n); }

COPY_STRIDED(copy_strided, float, float)
COPY_STRIDED(copy_strided_widened, float, Bf16)
COPY_STRIDED(copy_strided_bf16, Bf16, Bf16)

KERNEL to_bf16(Bf16* y, const float* x, Long n) {
    for_each(aligned(y, x), n, [&](Long i, auto lanes) {
        float value[lanes.count];
        load(value, x + i);
        store(y + i, value);
    });
}

// Copies one part of a concatenation: rows of `width` go to column `first` of rows of `total`.
KERNEL copy_part(float* y, const float* x, Long width, Long total, Long first, Long n) {
    FOR_EACH(i, n) y[i / width * total + first + i % width] = x[i];
}

KERNEL scale(float* y, const float* x, float c, Long n) {
    FOR_EACH(i, n) y[i] = c * x[i];
}

KERNEL scale_by(float* y, const float* x, const float* c, Long n) {
    FOR_EACH(i, n) y[i] = x[i] * c[0];
}

// y may be x, of the same type.
template <class Y, class A>
__device__ inline void add_to(Y* y, const Y* x, const A* addend, Long n) {
    for_each(aligned(y, x, addend), n, [&](Long i, auto lanes) {
        float sum[lanes.count], added[lanes.count];
        load(sum, x + i);
        load(added, addend + i);
        for (int e = 0; e < lanes.count; ++e) sum[e] += added[e];
        store(y + i, sum);
    });
}

#define ACCUMULATE(name, Y, A) \
    KERNEL name(Y* y, const Y* x, const A* addend, Long n) { add_to(y, x, addend, n); }

ACCUMULATE(accumulate, float, float)
ACCUMULATE(accumulate_float_bf16, float, Bf16)
ACCUMULATE(accumulate_bf16_bf16, Bf16, Bf16)

template <class T>
__device__ inline void gated(T* y, const T* gate, const T* up, Long n) {
    for_each(aligned(y, gate, up), n, [&](Long i, auto lanes) {
        float g[lanes.count], u[lanes.count];
        load(g, gate + i);
        load(u, up + i);
        for (int e = 0; e < lanes.count; ++e) g[e] = g[e] * sigmoid(g[e]) * u[e];
        store(y + i, g);
    });
}

template <class T>
__device__ inline void gated_vjp(T* gate_bar, T* up_bar, const T* gate, const T* up, const T* y_bar, Long n) {
    for_each(aligned(gate_bar, up_bar, gate, up, y_bar), n, [&](Long i, auto lanes) {
        float g[lanes.count], u[lanes.count], c[lanes.count];
        load(g, gate + i);
        load(u, up + i);
        load(c, y_bar + i);
        for (int e = 0; e < lanes.count; ++e) {
            float s = sigmoid(g[e]), silu = g[e] * s;
            g[e] = (s + silu * (1.0f - s)) * u[e] * c[e];
            u[e] = silu * c[e];
        }
        store(gate_bar + i, g);
        store(up_bar + i, u);
    });
}

#define SWIGLU(name, T) \
    KERNEL name(T* y, const T* gate, const T* up, Long n) { gated(y, gate, up, n); }
#define SWIGLU_VJP(name, T) \
    KERNEL name(T* gate_bar, T* up_bar, const T* gate, const T* up, const T* y_bar, Long n) { \
        gated_vjp(gate_bar, up_bar, gate, up, y_bar, n); \
    }

SWIGLU(swiglu, float)
SWIGLU(swiglu_bf16, Bf16)
SWIGLU_VJP(swiglu_vjp, float)
SWIGLU_VJP(swiglu_vjp_bf16, Bf16)

// x [N, heads, width]; cos and sin [N, pairs]. Rotates pairs (2i, 2i + 1) if `adjacent`, else (i, i + pairs). One block for each token.
template <class T>
__device__ inline void rotate(T* y, const T* x, const float* cosine, const float* sine, int heads, int width, int pairs, int adjacent) {
    Long token = blockIdx.x;
    x += token * heads * width;
    y += token * heads * width;
    for (int i = threadIdx.x; i < heads * pairs; i += blockDim.x) {
        int head = i / pairs, pair = i % pairs;
        int first = head * width + (adjacent ? 2 * pair : pair), second = first + (adjacent ? 1 : pairs);
        float c = cosine[token * pairs + pair], s = sine[token * pairs + pair], a[1], b[1], turned[1];
        load(a, x + first);
        load(b, x + second);
        turned[0] = a[0] * c - b[0] * s;
        store(y + first, turned);
        turned[0] = b[0] * c + a[0] * s;
        store(y + second, turned);
    }
    int rest = width - 2 * pairs;
    for (int i = threadIdx.x; i < heads * rest; i += blockDim.x) {
        int at = i / rest * width + 2 * pairs + i % rest;
        y[at] = x[at];
    }
}

#define ROPE(name, T) \
    KERNEL name(T* y, const T* x, const float* cosine, const float* sine, int heads, int width, int pairs, int adjacent) { \
        rotate(y, x, cosine, sine, heads, width, pairs, adjacent); \
    }

ROPE(rope, float)
ROPE(rope_bf16, Bf16)
