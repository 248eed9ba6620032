// Optimizer steps, and the norm of a gradient.

// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← keep·θ − rate·m/(√(v·correction) + ε), g = the gradient times its scale.
// The results may overwrite the inputs. The numbers are [scale, β₁, 1 − β₁, β₂, 1 − β₂, correction, rate, keep, ε].
//
// A control (see step_control) replaces the scale. If it says that the step's loss or gradients are not finite, nothing changes.
KERNEL adamw(float* theta_out, float* m_out, float* v_out, const float* theta, const float* m, const float* v, const float* gradient,
             const float* numbers, const double* control, Long n) {
    float gradient_scale = numbers[0], beta1 = numbers[1], rest1 = numbers[2], beta2 = numbers[3], rest2 = numbers[4];
    float correction = numbers[5], rate = numbers[6], keep = numbers[7], epsilon = numbers[8];
    bool changes = !control || control[1] != 0.0;
    if (control) gradient_scale = (float)control[0];
    FOR_EACH(i, n) {
        if (!changes) {
            theta_out[i] = theta[i];
            m_out[i] = m[i];
            v_out[i] = v[i];
            continue;
        }
        float g = gradient[i] * gradient_scale;
        float m_new = beta1 * m[i] + rest1 * g;
        float v_new = beta2 * v[i] + rest2 * g * g;
        m_out[i] = m_new;
        v_out[i] = v_new;
        theta_out[i] = keep * theta[i] - rate * m_new / (sqrtf(v_new * correction) + epsilon);
    }
}

// u ← μu + g, θ ← θ − ηu, g = the gradient times its scale. The numbers are [scale, μ, η]. Everything else is as for adamw.
KERNEL sgd(float* theta_out, float* u_out, const float* theta, const float* u, const float* gradient, const float* numbers,
           const double* control, Long n) {
    float gradient_scale = control ? (float)control[0] : numbers[0], momentum = numbers[1], rate = numbers[2];
    bool changes = !control || control[1] != 0.0;
    FOR_EACH(i, n) {
        float u_new = changes ? momentum * u[i] + gradient[i] * gradient_scale : u[i];
        u_out[i] = u_new;
        theta_out[i] = changes ? theta[i] - rate * u_new : theta[i];
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

// Adds a micro-batch's loss to the third number of a control. The first micro-batch sets it.
KERNEL add_loss(double* control, const float* loss, int number) {
    if (blockIdx.x == 0 && threadIdx.x == 0) control[2] = (number == 0 ? 0.0 : control[2]) + (double)loss[0];
}

// Completes the control of a step, which already contains the loss: [scale, finite, loss, norm, Σ g² of each gradient]. The squares of
// gradient g are the sum of partial[bounds[g]] up to, not including, partial[bounds[g + 1]]. One block; every sum is in the order of its
// terms.
KERNEL step_control(double* control, const double* partial, const unsigned* bounds, int gradients, double weight, double clip) {
    double* squares = control + 4;
    for (int g = threadIdx.x; g < gradients; g += blockDim.x) {
        double sum = 0.0;
        for (unsigned i = bounds[g]; i < bounds[g + 1]; i++) sum += partial[i];
        squares[g] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    double total = 0.0;
    bool finite = control[2] - control[2] == 0.0;
    for (int g = 0; g < gradients; g++) {
        total += squares[g];
        finite = finite && squares[g] - squares[g] == 0.0;
    }
    double norm = sqrt(total) * (1.0 / weight);
    control[0] = (norm > clip ? clip / norm : 1.0) / weight;
    control[1] = finite ? 1.0 : 0.0;
    control[3] = norm;
}
