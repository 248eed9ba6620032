// Kernels over the last axis: a block for each row of n elements.

#define FOR_ROW(j, n) for (int j = threadIdx.x; j < (n); j += blockDim.x)

struct Exponentials {
    float shift; // the maximum, 0 where it is infinite
    float total; // Σ e^{x − shift}
};

__device__ inline Exponentials exponentials(const float* x, int n) {
    float m = -infinity();
    FOR_ROW(j, n) m = maximum(m, x[j]);
    m = finite_or_zero(block_max(m));
    float total = 0.0f;
    FOR_ROW(j, n) total += expf(x[j] - m);
    return {m, block_sum(total)};
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

// (x − μ)·s and s = 1/√(σ² + ε); without the mean where `centre` is 0.
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

// s·(ȳ − mean ȳ − y·mean(ȳ∘y)); without mean ȳ where `centre` is 0.
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

// x·s∘gain and s = 1/√(mean x² + ε).
KERNEL scaled_rms_norm(float* y, float* scales, const float* x, const float* gain, float epsilon, int n) {
    Long row = (Long)blockIdx.x * n;
    float squares = 0.0f;
    FOR_ROW(j, n) squares += x[row + j] * x[row + j];
    float s = 1.0f / sqrtf(block_sum(squares) / n + epsilon);
    FOR_ROW(j, n) y[row + j] = x[row + j] * s * gain[j];
    if (threadIdx.x == 0) scales[blockIdx.x] = s;
}

// s·(ȳ∘gain − x̂·mean(ȳ∘gain∘x̂)), x̂ = x·s.
KERNEL scaled_rms_norm_vjp(float* x_bar, const float* x, const float* gain, const float* scales, const float* y_bar, int n) {
    Long row = (Long)blockIdx.x * n;
    float s = scales[blockIdx.x], dot = 0.0f;
    FOR_ROW(j, n) dot += y_bar[row + j] * gain[j] * x[row + j];
    float projection = block_sum(dot) * s / n;
    FOR_ROW(j, n) x_bar[row + j] = (y_bar[row + j] * gain[j] - x[row + j] * s * projection) * s;
}

// Σ ȳ∘x̂ over `chunk` rows at a time: [chunks, n], a thread for each result.
KERNEL scaled_rms_norm_gain(float* sums, const float* x, const float* scales, const float* y_bar, Long rows, Long chunk, int n, Long count) {
    FOR_EACH(i, count) {
        Long column = i % n, start = i / n * chunk;
        Long end = start + chunk < rows ? start + chunk : rows;
        float total = 0.0f;
        for (Long row = start; row < end; ++row) total += y_bar[row * n + column] * (x[row * n + column] * scales[row]);
        sums[i] = total;
    }
}

// Σ a∘b of each row.
KERNEL row_dot(float* y, const float* a, const float* b, int n) {
    Long row = (Long)blockIdx.x * n;
    float dot = 0.0f;
    FOR_ROW(j, n) dot += a[row + j] * b[row + j];
    dot = block_sum(dot);
    if (threadIdx.x == 0) y[blockIdx.x] = dot;
}

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

// z becomes its cotangent g·(onehot(target) − e^{z − logsumexp}).
KERNEL log_prob_vjp(float* z, const float* totals, const float* cotangent, const unsigned* targets, int n) {
    z += (Long)blockIdx.x * n;
    float total = totals[blockIdx.x], g = cotangent[blockIdx.x];
    int target = (int)targets[blockIdx.x];
    FOR_ROW(j, n) z[j] = (j == target ? g : 0.0f) - expf(z[j] - total) * g;
}

// The loss −ln softmax(z)[target]; z becomes the loss's gradient, softmax(z) − onehot(target).
KERNEL cross_entropy(float* losses, float* z, const unsigned* targets, int n) {
    z += (Long)blockIdx.x * n;
    Exponentials e = exponentials(z, n);
    float log_total = logf(e.total);
    int target = (int)targets[blockIdx.x];
    if (threadIdx.x == 0) losses[blockIdx.x] = log_total - (z[target] - e.shift);
    __syncthreads();
    FOR_ROW(j, n) z[j] = expf((z[j] - e.shift) - log_total) - (j == target ? 1.0f : 0.0f);
}
