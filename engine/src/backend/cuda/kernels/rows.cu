// Kernels over the last axis: a block for each row of n elements. Kernels with a team use a warp for each row if the rows are short.

#define FOR_ROW(j, n) for (int j = threadIdx.x; j < (n); j += blockDim.x)

struct Exponentials {
    float shift; // the maximum, 0 where it is infinite
    float total; // Σ e^{x − shift}
};

// Computes both in one pass. Each thread keeps the maximum of its elements so far, and the sum of their exponentials shifted by it.
__device__ inline Exponentials exponentials(const float* x, int n) {
    float m = -infinity(), total = 0.0f;
    for_lanes(threadIdx.x, blockDim.x, aligned(x), n, [&](Long i, auto lanes) {
        float v[lanes.count], largest = m;
        load(v, x + i);
        for (int e = 0; e < lanes.count; ++e) largest = maximum(largest, v[e]);
        float shift = finite_or_zero(largest), added = 0.0f;
        for (int e = 0; e < lanes.count; ++e) added += expf(v[e] - shift);
        total = (m == largest ? total : total * expf(m - shift)) + added;
        m = largest;
    });
    float largest = block_max(m), shift = finite_or_zero(largest);
    total = m == -infinity() ? 0.0f : total * expf(finite_or_zero(m) - shift);
    return {shift, block_sum(total)};
}

KERNEL softmax(float* y, const float* x, int n) {
    x += (Long)blockIdx.x * n;
    y += (Long)blockIdx.x * n;
    Exponentials e = exponentials(x, n);
    float log_total = logf(e.total);
    FOR_ROW(j, n) y[j] = expf((x[j] - e.shift) - log_total);
}

KERNEL softmax_vjp(float* x_bar, const float* y, const float* y_bar, int n) {
    Long row = (Long)blockIdx.x * n;
    float dot = 0.0f;
    FOR_ROW(j, n) dot += y_bar[row + j] * y[row + j];
    dot = block_sum(dot);
    FOR_ROW(j, n) x_bar[row + j] = y[row + j] * (y_bar[row + j] - dot);
}

KERNEL log_softmax(float* y, const float* x, int n) {
    x += (Long)blockIdx.x * n;
    y += (Long)blockIdx.x * n;
    Exponentials e = exponentials(x, n);
    float log_total = logf(e.total);
    FOR_ROW(j, n) y[j] = (x[j] - e.shift) - log_total;
}

KERNEL log_softmax_vjp(float* x_bar, const float* y, const float* y_bar, int n) {
    Long row = (Long)blockIdx.x * n;
    float total = 0.0f;
    FOR_ROW(j, n) total += y_bar[row + j];
    total = block_sum(total);
    FOR_ROW(j, n) x_bar[row + j] = y_bar[row + j] - expf(y[row + j]) * total;
}

KERNEL logsumexp(float* y, const float* x, int n) {
    Exponentials e = exponentials(x + (Long)blockIdx.x * n, n);
    if (threadIdx.x == 0) y[blockIdx.x] = e.shift + logf(e.total);
}

// (x − μ)·s and s = 1/√(σ² + ε). μ is 0 if `centre` is 0.
KERNEL normalise(float* y, float* scales, const float* x, float epsilon, int centre, int n) {
    Long row = (Long)blockIdx.x * n;
    float mean = 0.0f;
    if (centre) {
        FOR_ROW(j, n) mean += x[row + j];
        mean = block_sum(mean) / n;
    }
    float squares = 0.0f;
    FOR_ROW(j, n) squares += (x[row + j] - mean) * (x[row + j] - mean);
    float s = 1.0f / sqrtf(block_sum(squares) / n + epsilon);
    FOR_ROW(j, n) y[row + j] = (x[row + j] - mean) * s;
    if (threadIdx.x == 0) scales[blockIdx.x] = s;
}

// s·(ȳ − mean ȳ − y·mean(ȳ∘y)), without mean ȳ if `centre` is 0.
KERNEL normalise_vjp(float* x_bar, const float* y, const float* scales, const float* y_bar, int centre, int n) {
    Long row = (Long)blockIdx.x * n;
    float total = 0.0f, dot = 0.0f;
    FOR_ROW(j, n) {
        total += y_bar[row + j];
        dot += y_bar[row + j] * y[row + j];
    }
    float mean = centre ? block_sum(total) / n : 0.0f;
    float projection = block_sum(dot) / n, s = scales[blockIdx.x];
    FOR_ROW(j, n) x_bar[row + j] = (y_bar[row + j] - mean - y[row + j] * projection) * s;
}

// The threads that share a row: those of a block if the rows are `wide`, else those of a warp.
struct Team {
    Long row;
    int first, step, wide;
};

__device__ inline Team team_of(int wide) {
    if (wide) return {(Long)blockIdx.x, (int)threadIdx.x, (int)blockDim.x, wide};
    return {(Long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, (int)(threadIdx.x % 32), 32, wide};
}
__device__ inline float team_sum(const Team& team, float x) { return team.wide ? block_sum(x) : warp_sum(x); }

// x·s∘gain and s = 1/√(mean x² + ε).
template <class Y, class X>
__device__ inline void scaled_norm(Y* y, float* scales, const X* x, const float* gain, float epsilon, int n, Long rows, int wide) {
    Team team = team_of(wide);
    if (team.row >= rows) return;
    x += team.row * n;
    y += team.row * n;
    bool fours = aligned(x, y, gain);
    float squares = 0.0f;
    for_lanes(team.first, team.step, fours, n, [&](Long i, auto lanes) {
        float v[lanes.count];
        load(v, x + i);
        for (int e = 0; e < lanes.count; ++e) squares += v[e] * v[e];
    });
    float s = 1.0f / sqrtf(team_sum(team, squares) / n + epsilon);
    for_lanes(team.first, team.step, fours, n, [&](Long i, auto lanes) {
        float v[lanes.count], g[lanes.count];
        load(v, x + i);
        load(g, gain + i);
        for (int e = 0; e < lanes.count; ++e) v[e] = v[e] * s * g[e];
        store(y + i, v);
    });
    if (team.first == 0) scales[team.row] = s;
}

// s·(ȳ∘gain − x̂·mean(ȳ∘gain∘x̂)), x̂ = x·s.
template <class X, class Y>
__device__ inline void scaled_norm_vjp(X* x_bar, const X* x, const float* gain, const float* scales, const Y* y_bar, int n, Long rows, int wide) {
    Team team = team_of(wide);
    if (team.row >= rows) return;
    x += team.row * n;
    x_bar += team.row * n;
    y_bar += team.row * n;
    bool fours = aligned(x, x_bar, gain) && aligned(y_bar);
    float s = scales[team.row], dot = 0.0f;
    for_lanes(team.first, team.step, fours, n, [&](Long i, auto lanes) {
        float v[lanes.count], g[lanes.count], c[lanes.count];
        load(v, x + i);
        load(g, gain + i);
        load(c, y_bar + i);
        for (int e = 0; e < lanes.count; ++e) dot += c[e] * g[e] * v[e];
    });
    float projection = team_sum(team, dot) * s / n;
    for_lanes(team.first, team.step, fours, n, [&](Long i, auto lanes) {
        float v[lanes.count], g[lanes.count], c[lanes.count];
        load(v, x + i);
        load(g, gain + i);
        load(c, y_bar + i);
        for (int e = 0; e < lanes.count; ++e) v[e] = (c[e] * g[e] - v[e] * s * projection) * s;
        store(x_bar + i, v);
    });
}

// Sums ȳ∘x̂ over `chunk` rows at a time: [chunks, n], one thread for each result.
template <class X, class Y>
__device__ inline void scaled_norm_gain(float* sums, const X* x, const float* scales, const Y* y_bar, Long rows, Long chunk, int n, Long count) {
    FOR_EACH(i, count) {
        Long column = i % n, start = i / n * chunk;
        Long end = start + chunk < rows ? start + chunk : rows;
        float total = 0.0f;
#pragma unroll 4
        for (Long row = start; row < end; ++row) {
            float v[1], c[1];
            load(v, x + row * n + column);
            load(c, y_bar + row * n + column);
            total += c[0] * (v[0] * scales[row]);
        }
        sums[i] = total;
    }
}

// Σ a∘b of each row.
template <class T>
__device__ inline void dot_of_rows(float* y, const T* a, const T* b, int n, Long rows, int wide) {
    Team team = team_of(wide);
    if (team.row >= rows) return;
    a += team.row * n;
    b += team.row * n;
    float dot = 0.0f;
    for_lanes(team.first, team.step, aligned(a, b), n, [&](Long i, auto lanes) {
        float v[lanes.count], w[lanes.count];
        load(v, a + i);
        load(w, b + i);
        for (int e = 0; e < lanes.count; ++e) dot += v[e] * w[e];
    });
    dot = team_sum(team, dot);
    if (team.first == 0) y[team.row] = dot;
}

#define SCALED_RMS_NORM(name, X, Y) \
    KERNEL name(Y* y, float* scales, const X* x, const float* gain, float epsilon, int n, Long rows, int wide) { \
        scaled_norm(y, scales, x, gain, epsilon, n, rows, wide); \
    }
#define SCALED_RMS_NORM_VJP(name, X, Y) \
    KERNEL name(X* x_bar, const X* x, const float* gain, const float* scales, const Y* y_bar, int n, Long rows, int wide) { \
        scaled_norm_vjp(x_bar, x, gain, scales, y_bar, n, rows, wide); \
    }
#define SCALED_RMS_NORM_GAIN(name, X, Y) \
    KERNEL name(float* sums, const X* x, const float* scales, const Y* y_bar, Long rows, Long chunk, int n, Long count) { \
        scaled_norm_gain(sums, x, scales, y_bar, rows, chunk, n, count); \
    }
#define ROW_DOT(name, T) \
    KERNEL name(float* y, const T* a, const T* b, int n, Long rows, int wide) { dot_of_rows(y, a, b, n, rows, wide); }

SCALED_RMS_NORM(scaled_rms_norm, float, float)
SCALED_RMS_NORM(scaled_rms_norm_float_bf16, float, Bf16)
SCALED_RMS_NORM(scaled_rms_norm_bf16_bf16, Bf16, Bf16)
SCALED_RMS_NORM_VJP(scaled_rms_norm_vjp, float, float)
SCALED_RMS_NORM_VJP(scaled_rms_norm_vjp_float_bf16, float, Bf16)
SCALED_RMS_NORM_VJP(scaled_rms_norm_vjp_bf16_bf16, Bf16, Bf16)
SCALED_RMS_NORM_GAIN(scaled_rms_norm_gain, float, float)
SCALED_RMS_NORM_GAIN(scaled_rms_norm_gain_float_bf16, float, Bf16)
SCALED_RMS_NORM_GAIN(scaled_rms_norm_gain_bf16_bf16, Bf16, Bf16)
ROW_DOT(row_dot, float)
ROW_DOT(row_dot_bf16, Bf16)

// ---- the vocabulary projection: a row of logits z and its target ------------------------------------------------------------------

KERNEL log_prob(float* log_probs, float* totals, const float* z, const unsigned* targets, int n) {
    z += (Long)blockIdx.x * n;
    Exponentials e = exponentials(z, n);
    if (threadIdx.x == 0) {
        float log_total = logf(e.total);
        totals[blockIdx.x] = e.shift + log_total;
        log_probs[blockIdx.x] = (z[targets[blockIdx.x]] - e.shift) - log_total;
    }
}

// z̄ = g·(onehot(target) − e^{z − logsumexp}); z̄ may be z.
template <class T>
__device__ inline void log_prob_cotangents(T* z_bar, const float* z, const float* totals, const float* cotangent, const unsigned* targets, int n) {
    z += (Long)blockIdx.x * n;
    z_bar += (Long)blockIdx.x * n;
    float total = totals[blockIdx.x], g = cotangent[blockIdx.x];
    int target = (int)targets[blockIdx.x];
    for_lanes(threadIdx.x, blockDim.x, aligned(z) && aligned(z_bar), n, [&](Long i, auto lanes) {
        float v[lanes.count];
        load(v, z + i);
        for (int e = 0; e < lanes.count; ++e) v[e] = (i + e == target ? g : 0.0f) - expf(v[e] - total) * g;
        store(z_bar + i, v);
    });
}

// The loss −ln softmax(z)[target] and its gradient z̄ = softmax(z) − onehot(target); z̄ may be z.
template <class T>
__device__ inline void cross_entropy_cotangents(float* losses, T* z_bar, const float* z, const unsigned* targets, int n) {
    z += (Long)blockIdx.x * n;
    z_bar += (Long)blockIdx.x * n;
    Exponentials sums = exponentials(z, n);
    float log_total = logf(sums.total);
    int target = (int)targets[blockIdx.x];
    if (threadIdx.x == 0) losses[blockIdx.x] = log_total - (z[target] - sums.shift);
    __syncthreads();
    for_lanes(threadIdx.x, blockDim.x, aligned(z) && aligned(z_bar), n, [&](Long i, auto lanes) {
        float v[lanes.count];
        load(v, z + i);
        for (int e = 0; e < lanes.count; ++e) v[e] = expf((v[e] - sums.shift) - log_total) - (i + e == target ? 1.0f : 0.0f);
        store(z_bar + i, v);
    });
}

#define LOG_PROB_VJP(name, T) \
    KERNEL name(T* z_bar, const float* z, const float* totals, const float* cotangent, const unsigned* targets, int n) { \
        log_prob_cotangents(z_bar, z, totals, cotangent, targets, n); \
    }
#define CROSS_ENTROPY(name, T) \
    KERNEL name(float* losses, T* z_bar, const float* z, const unsigned* targets, int n) { \
        cross_entropy_cotangents(losses, z_bar, z, targets, n); \
    }

LOG_PROB_VJP(log_prob_vjp, float)
LOG_PROB_VJP(log_prob_vjp_bf16, Bf16)
CROSS_ENTROPY(cross_entropy, float)
CROSS_ENTROPY(cross_entropy_bf16, Bf16)
