// The optimizer's step and the norm of a gradient.

// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← keep·θ − rate·m/(√(v·correction) + ε), g = the gradient times its scale.
// The results may be the inputs.
KERNEL adamw(float* theta_out, float* m_out, float* v_out, const float* theta, const float* m, const float* v, const float* gradient,
             float gradient_scale, float beta1, float rest1, float beta2, float rest2, float correction, float rate, float keep,
             float epsilon, Long n) {
    FOR_EACH(i, n) {
        float g = gradient[i] * gradient_scale;
        float m_new = beta1 * m[i] + rest1 * g;
        float v_new = beta2 * v[i] + rest2 * g * g;
        m_out[i] = m_new;
        v_out[i] = v_new;
        theta_out[i] = keep * theta[i] - rate * m_new / (sqrtf(v_new * correction) + epsilon);
    }
}

// Σ x² in double precision: each block sums `chunk` elements.
KERNEL sum_of_squares(double* sums, const float* x, Long chunk, Long n) {
    __shared__ double partial[256];
    Long start = blockIdx.x * chunk, end = start + chunk < n ? start + chunk : n;
    double total = 0.0;
    for (Long i = start + threadIdx.x; i < end; i += blockDim.x) total += (double)x[i] * (double)x[i];
    partial[threadIdx.x] = total;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = partial[0];
}
