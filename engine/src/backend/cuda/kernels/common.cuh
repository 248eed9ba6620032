// The common part that every source of kernels starts with: the kernel macro, bfloat16, loops over elements, and reductions over a block.
// Reductions run in a fixed order. Blocks have at most 256 threads, a multiple of 32. Unless a kernel says otherwise, arrays are row-major
// and arithmetic is in float.

#ifndef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 1)
#endif

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED extern __shared__ __align__(16) float dynamic_shared[];
#endif

typedef long long Long;

#define FOR_EACH(i, n) \
    for (Long i = (Long)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (Long)gridDim.x * blockDim.x)

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// bfloat16: the upper half of a float, rounded to nearest, ties to even. A NaN stays a NaN.
struct Bf16 {
    unsigned short bits;
};

__device__ inline unsigned bits_of(float x) {
    union {
        float value;
        unsigned bits;
    } u;
    u.value = x;
    return u.bits;
}

// Packs two numbers as bfloat16, the first into the lower half.
__device__ inline unsigned pack(float low, float high) {
#ifdef __CUDA_ARCH__
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    unsigned packed = 0;
    for (int half = 0; half < 2; ++half) {
        unsigned b = bits_of(half ? high : low);
        bool nan = (b & 0x7fffffffu) > 0x7f800000u;
        b = nan ? 0x7fffu : (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
        packed |= b << 16 * half;
    }
    return packed;
#endif
}
__device__ inline float low_of(unsigned packed) { return __int_as_float((int)(packed << 16)); }
__device__ inline float high_of(unsigned packed) { return __int_as_float((int)(packed & 0xffff0000u)); }

// Loads and stores N numbers: 1, or 4 at an address that is aligned for all four.
template <int N>
__device__ inline void load(float (&x)[N], const float* from) {
    if (N == 4) {
        struct __align__(16) Four {
            float x[4];
        } four = *(const Four*)from;
        for (int e = 0; e < N; ++e) x[e] = four.x[e];
    } else {
        x[0] = from[0];
    }
}
template <int N>
__device__ inline void load(float (&x)[N], const Bf16* from) {
    if (N == 4) {
        struct __align__(8) Two {
            unsigned x[2];
        } two = *(const Two*)from;
        for (int e = 0; e < N; ++e) x[e] = e % 2 ? high_of(two.x[e / 2]) : low_of(two.x[e / 2]);
    } else {
        x[0] = low_of(from[0].bits);
    }
}
template <int N>
__device__ inline void store(float* to, const float (&x)[N]) {
    if (N == 4) {
        struct __align__(16) Four {
            float x[4];
        } four;
        for (int e = 0; e < N; ++e) four.x[e] = x[e];
        *(Four*)to = four;
    } else {
        to[0] = x[0];
    }
}
template <int N>
__device__ inline void store(Bf16* to, const float (&x)[N]) {
    if (N == 4) {
        struct __align__(8) Two {
            unsigned x[2];
        } two;
        for (int e = 0; e < N; e += 2) two.x[e / 2] = pack(x[e], x[e + 1 < N ? e + 1 : e]);
        *(Two*)to = two;
    } else {
        to[0].bits = (unsigned short)pack(x[0], 0.0f);
    }
}

// Loops over n elements, four at a time if the arrays are aligned for that. This is thread number `first` of `step` threads.
// f(i, Lanes<N>()) processes the N elements from i on.
template <int N>
struct Lanes {
    static constexpr int count = N;
};
template <class... T>
__device__ inline bool aligned(const T*... arrays) {
    return (((size_t)arrays % (4 * sizeof(T)) == 0) && ...);
}
template <class F>
__device__ inline void for_lanes(Long first, Long step, bool aligned, Long n, F f) {
    Long fours = aligned ? n / 4 : 0;
    for (Long i = first; i < fours; i += step) f(4 * i, Lanes<4>());
    for (Long i = 4 * fours + first; i < n; i += step) f(i, Lanes<1>());
}
template <class F>
__device__ inline void for_each(bool aligned, Long n, F f) {
    for_lanes((Long)blockIdx.x * blockDim.x + threadIdx.x, (Long)gridDim.x * blockDim.x, aligned, n, f);
}

// A view: extents, strides in elements, and number of axes.
struct Strided {
    Long shape[8];
    Long strides[8];
    int rank;
};

// The larger of two numbers, the first if they are equal. A NaN in either is kept.
__device__ inline float maximum(float a, float b) { return (b > a || b != b) ? b : a; }

// x if it is finite or NaN, else 0.
__device__ inline float finite_or_zero(float x) { return (x == infinity() || x == -infinity()) ? 0.0f : x; }

__device__ inline float sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// Sums over all threads of the warp. Every thread gets the result.
__device__ inline float warp_sum(float x) {
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

// Sums over all threads of the block. Every thread gets the result.
__device__ inline float block_sum(float x) {
    __shared__ float partial[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_sum(x);
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    float total = 0.0f;
    for (int i = 0; i < warps; ++i) total += partial[i];
    return total;
}

// Finds the maximum over all threads of the block. Every thread gets the result.
__device__ inline float block_max(float x) {
    __shared__ float partial[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int offset = 16; offset > 0; offset /= 2) x = maximum(x, __shfl_xor_sync(0xffffffffu, x, offset));
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    float largest = partial[0];
    for (int i = 1; i < warps; ++i) largest = maximum(largest, partial[i]);
    return largest;
}
