// Runs kernels on a processor, for tests on machines without a GPU. x86-64 only.
//
// A block's threads are fibers that take turns at each barrier, in an order that changes from barrier to barrier. Shared memory starts as
// NaN. Blocks run one after another.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

struct Extent {
    unsigned x, y, z;
};
static Extent threadIdx, blockIdx, blockDim, gridDim;

#define KERNEL extern "C" void
#define __device__ static
#define __shared__ static
#define __align__(bytes) alignas(bytes)
#define DYNAMIC_SHARED
alignas(16) static float dynamic_shared[65536];

static inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

extern "C" __attribute__((visibility("hidden"))) void switch_fiber(void** save, void* to);
asm(R"(
.text
.globl switch_fiber
.hidden switch_fiber
switch_fiber:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

enum { STACK = 1 << 16, FIBERS = 256 };
static char* stacks;
static void* fiber_at[FIBERS];
static bool finished[FIBERS];
static void* scheduler;
static unsigned current;
static float slots[FIBERS];
static void (*body)(void*);
static void* body_data;

static void run_fiber() {
    body(body_data);
    finished[current] = true;
    switch_fiber(&fiber_at[current], scheduler);
    abort();
}

static inline void __syncthreads() { switch_fiber(&fiber_at[current], scheduler); }

static inline float __shfl_xor_sync(unsigned, float x, int offset) {
    slots[threadIdx.x] = x;
    __syncthreads();
    float other = slots[threadIdx.x ^ offset];
    __syncthreads();
    return other;
}

// Emulates the tensor-core instructions of flash.cu: each thread leaves its registers for the other threads of its warp, and reads theirs.
struct Part {
    const unsigned short* row;
    unsigned registers[6];
};
static Part parts[FIBERS];

static inline float half_of(unsigned packed, int half) { return __int_as_float((int)(half ? packed & 0xffff0000u : packed << 16)); }

static inline void ldmatrix_x4(unsigned (&tile)[4], const void* row, bool transposed = false) {
    parts[threadIdx.x].row = (const unsigned short*)row;
    __syncthreads();
    unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    for (unsigned m = 0; m < 4; ++m) {
        unsigned short element[2];
        for (unsigned half = 0; half < 2; ++half) {
            unsigned i = lane / 4, j = lane % 4 * 2 + half;
            element[half] = transposed ? parts[warp + 8 * m + j].row[i] : parts[warp + 8 * m + i].row[j];
        }
        tile[m] = element[0] | (unsigned)element[1] << 16;
    }
    __syncthreads();
}
static inline void ldmatrix_x4_transposed(unsigned (&tile)[4], const void* row) { ldmatrix_x4(tile, row, true); }

static inline void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    memcpy(parts[threadIdx.x].registers, mine, sizeof mine);
    __syncthreads();
    unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    for (unsigned e = 0; e < 4; ++e) {
        unsigned i = lane / 4 + e / 2 * 8, j = lane % 4 * 2 + e % 2;
        for (unsigned k = 0; k < 16; ++k) {
            unsigned pair = k % 8 / 2, side = k / 8;
            unsigned x = parts[warp + i % 8 * 4 + pair].registers[i / 8 + 2 * side], y = parts[warp + j * 4 + pair].registers[4 + side];
            c[e] += half_of(x, k % 2) * half_of(y, k % 2);
        }
    }
    __syncthreads();
}

static inline void copy_async_16(void* to, const void* from, bool there) {
    if (there) memcpy(to, from, 16);
    else memset(to, 0, 16);
}
static inline void copy_async_commit() {}
template <int N>
static inline void copy_async_wait() {}
static inline float exp2_fast(float x) { return exp2f(x); }

// Bytes of dynamic_shared that a kernel of this unit was given so far. What lies behind them was never written.
static unsigned most_shared;

static void run_block() {
    for (unsigned i = 0; i < (most_shared + 3) / 4; ++i) dynamic_shared[i] = NAN;
    unsigned count = blockDim.x, left = count;
    for (unsigned i = 0; i < count; ++i) {
        void** top = (void**)(stacks + (size_t)(i + 1) * STACK);
        top[-1] = nullptr;
        top[-2] = (void*)run_fiber;
        fiber_at[i] = top - 8;
        finished[i] = false;
    }
    for (unsigned phase = 0; left > 0; ++phase) {
        for (unsigned i = 0; i < count; ++i) {
            current = phase % 2 ? count - 1 - i : i;
            if (finished[current]) continue;
            threadIdx = {current, 0, 0};
            switch_fiber(&scheduler, fiber_at[current]);
            left -= finished[current];
        }
    }
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}

template <class... A>
static void launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads, unsigned shared, void** arguments) {
    if (!stacks) {
        stacks = (char*)aligned_alloc(64, (size_t)STACK * FIBERS);
        for (float& element : dynamic_shared) element = NAN;
    }
    if (shared > most_shared) most_shared = shared;
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    } data{kernel, arguments};
    body_data = &data;
    body = [](void* data) { call(((Call*)data)->kernel, ((Call*)data)->arguments, std::index_sequence_for<A...>{}); };
    blockDim = {threads, 1, 1};
    gridDim = {x, y, 1};
    for (unsigned j = 0; j < y; ++j)
        for (unsigned i = 0; i < x; ++i) {
            blockIdx = {i, j, 0};
            run_block();
        }
}

#define REGISTER(name) \
    extern "C" void launch_##name(unsigned x, unsigned y, unsigned threads, unsigned shared, void** arguments) { \
        launch(name, x, y, threads, shared, arguments);                                                        \
    }
