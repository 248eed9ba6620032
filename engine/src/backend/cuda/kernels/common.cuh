// What every kernel starts from: the kernel macro, loops over elements, and reductions over a block in a fixed order.
// Blocks have at most 256 threads, a multiple of 32. Arrays are row-major unless a kernel says otherwise.

#ifndef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 1)
#endif

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED extern __shared__ float dynamic_shared[];
#endif

typedef long long Long;

#define FOR_EACH(i, n) \
    for (Long i = (Long)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (Long)gridDim.x * blockDim.x)

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// The larger of two, the first where they tie; a NaN in either is kept.
__device__ inline float maximum(float a, float b) { return (b > a || b != b) ? b : a; }

// x where it is finite or NaN, else 0.
__device__ inline float finite_or_zero(float x) { return (x == infinity() || x == -infinity()) ? 0.0f : x; }

__device__ inline float sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// The sum over all threads of the block, in every thread.
__device__ inline float block_sum(float x) {
    __shared__ float partial[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    float total = 0.0f;
    for (int i = 0; i < warps; ++i) total += partial[i];
    return total;
}

// The maximum over all threads of the block, in every thread.
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
