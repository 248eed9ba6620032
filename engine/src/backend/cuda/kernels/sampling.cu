// Chooses a token from a row of n logits by a uniform number, without sorting. Each row has a block of 256 threads. Weights are
// e^{(z − max z)/temperature} in double, and sums run in a fixed order. A row is ordered by falling weight, ties by token.

#define THREADS 256

// Reduces x over all threads by f, pairwise and in a fixed order. Every thread gets the result.
template <class T, class F>
__device__ inline T together(T x, F f) {
    __shared__ T slots[THREADS];
    __syncthreads();
    slots[threadIdx.x] = x;
    for (int step = THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) slots[threadIdx.x] = f(slots[threadIdx.x], slots[threadIdx.x + step]);
    }
    __syncthreads();
    return slots[0];
}

// Sums f(i) over the row, in f's type.
template <class F>
__device__ inline auto sum(int n, F f) {
    auto total = f(0) * 0;
    for (int i = threadIdx.x; i < n; i += THREADS) total += f(i);
    return together(total, [](auto a, auto b) { return a + b; });
}

// Returns the first index at which the running sum of part(i) exceeds `limit` (or reaches it, if `reach`), or n if none does. Each thread
// sums one piece of the row.
template <class F>
__device__ inline int first_past(double limit, bool reach, int n, F part) {
    __shared__ double before[THREADS + 1];
    auto past = [&](double x) { return reach ? x >= limit : x > limit; };
    int length = (n + THREADS - 1) / THREADS, first = threadIdx.x * length, end = first + length < n ? first + length : n;
    double piece = 0.0;
    for (int i = first; i < end; ++i) piece += part(i);
    __syncthreads();
    before[threadIdx.x + 1] = piece;
    __syncthreads();
    if (threadIdx.x == 0) {
        before[0] = 0.0;
        for (int t = 0; t < THREADS; ++t) before[t + 1] += before[t];
    }
    __syncthreads();
    int found = n;
    if (past(before[threadIdx.x + 1])) {
        double reached = before[threadIdx.x];
        for (int i = first; i < end && found == n; ++i) {
            reached += part(i);
            if (past(reached)) found = i;
        }
    }
    return together(found, [](int a, int b) { return a < b ? a : b; });
}

// A key that orders floats as unsigned integers. Both zeros have the same key, and NaN has the smallest.
__device__ inline unsigned key_of(float z) {
    if (z != z) return 0u;
    unsigned bits = z == 0.0f ? 0u : bits_of(z);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float of_key(unsigned key) { return __int_as_float((int)(key & 0x80000000u ? key & 0x7fffffffu : ~key)); }

__device__ inline unsigned largest_key(const float* z, int n) {
    unsigned key = 0u;
    for (int i = threadIdx.x; i < n; i += THREADS) {
        unsigned other = key_of(z[i]);
        key = other > key ? other : key;
    }
    return together(key, [](unsigned a, unsigned b) { return a > b ? a : b; });
}

__device__ inline double weight_of(float z, float top, double temperature) {
    return z == top ? 1.0 : z < top ? exp(((double)z - (double)top) / temperature) : 0.0;
}

KERNEL largest(unsigned* tokens, const float* logits, int n) {
    const float* z = logits + (Long)blockIdx.x * n;
    unsigned top = largest_key(z, n);
    int first = n - 1;
    for (int i = threadIdx.x; i < first; i += THREADS)
        if (key_of(z[i]) == top) first = i;
    first = together(first, [](int a, int b) { return a < b ? a : b; });
    if (threadIdx.x == 0) tokens[blockIdx.x] = first;
}

struct Row {
    const float* z;
    const double* weights;
    int n;
};

// A token's place in the order of its row, and the total weight up to and including it.
struct Place {
    double weight;
    int token;
    double reached;
};

// Returns the first place in the order at which the running sum of part(i) exceeds `limit` (or reaches it, if `reach`). Returns the last
// place if none does. part(i) is 1 if `counts`, else the weight of token i.
__device__ inline Place place(const Row& row, double limit, bool reach, bool counts) {
    auto past = [&](double x) { return reach ? x >= limit : x > limit; };
    auto part = [&](int i) { return counts ? 1.0 : row.weights[i]; };
    // The largest key such that the parts of all tokens with this key or a larger one sum to enough. 0 if there is none.
    unsigned key = 0u;
    for (unsigned bit = 0x80000000u; bit > 0u; bit >>= 1) {
        unsigned tried = key | bit;
        if (past(sum(row.n, [&](int i) { return key_of(row.z[i]) >= tried ? part(i) : 0.0; }))) key = tried;
    }
    double weight = 0.0;
    for (int i = threadIdx.x; i < row.n; i += THREADS)
        if (key_of(row.z[i]) == key) weight = row.weights[i];
    weight = together(weight, [](double a, double b) { return a > b ? a : b; });
    double above = sum(row.n, [&](int i) { return row.weights[i] > weight ? part(i) : 0.0; });
    double mass = counts ? sum(row.n, [&](int i) { return row.weights[i] > weight ? row.weights[i] : 0.0; }) : above;
    int ties = sum(row.n, [&](int i) { return row.weights[i] == weight ? 1 : 0; });
    // The number of the wanted token among the ties, from 1.
    double each = counts ? 1.0 : weight, wanted = each > 0.0 ? (limit - above) / each : ties;
    wanted = reach ? ceil(wanted) : floor(wanted) + 1.0;
    wanted = wanted < 1.0 ? 1.0 : wanted > ties ? ties : wanted;
    int token = first_past(wanted, true, row.n, [&](int i) { return row.weights[i] == weight ? 1.0 : 0.0; });
    return {weight, token < row.n ? token : row.n - 1, mass + wanted * weight};
}

__device__ inline Place earlier(Place a, Place b) {
    return a.weight > b.weight || (a.weight == b.weight && a.token <= b.token) ? a : b;
}

// `kept` is how many of the most likely tokens may be chosen, n for all. It is 0 if neither top-k nor top-p excludes a token: then the
// tokens are taken in their own order, which needs no search.
KERNEL sample(unsigned* tokens, double* scratch, const float* logits, const double* uniforms, double temperature, int kept, double top_p, int n) {
    const float* z = logits + (Long)blockIdx.x * n;
    double* weights = scratch + (Long)blockIdx.x * n;
    float top = of_key(largest_key(z, n));
    for (int i = threadIdx.x; i < n; i += THREADS) weights[i] = weight_of(z[i], top, temperature);
    __syncthreads();
    double uniform = uniforms[blockIdx.x], total = sum(n, [&](int i) { return weights[i]; });
    int token;
    if (kept == 0) {
        token = first_past(uniform * total, false, n, [&](int i) { return weights[i]; });
    } else {
        Row row = {z, weights, n};
        Place last = {-1.0, n - 1, total};
        if (kept < n) last = place(row, kept, true, true);
        if (top_p < 1.0) last = earlier(place(row, top_p * last.reached, true, false), last);
        token = earlier(place(row, uniform * last.reached, false, false), last).token;
    }
    if (threadIdx.x == 0) tokens[blockIdx.x] = token < n ? token : n - 1;
}
