// Runs kernels on a processor, for tests on machines without a GPU: a block's threads are fibers which take turns at each barrier, in an order
// that changes from barrier to barrier; shared memory starts as NaN. Blocks run one after another. x86-64 only.

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
#define DYNAMIC_SHARED
static float dynamic_shared[65536];

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

static void run_block() {
    for (size_t i = 0; i < sizeof dynamic_shared / 4; ++i) dynamic_shared[i] = NAN;
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
static void launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned threads, void** arguments) {
    if (!stacks) stacks = (char*)aligned_alloc(64, (size_t)STACK * FIBERS);
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
    extern "C" void launch_##name(unsigned x, unsigned y, unsigned threads, void** arguments) { launch(name, x, y, threads, arguments); }
