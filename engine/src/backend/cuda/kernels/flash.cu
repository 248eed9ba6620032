// Causal grouped-query attention on tensor cores, forward and backward, in tiles with online softmax (Dao 2023). Operands are in bfloat16
// and sums in float. Only one block writes each result, so no atomics are needed. One kernel computes q̄, another k̄ and v̄.
//
// A block of 4 warps works on 64 rows, 16 for each warp: queries, or keys in the kernel for k̄ and v̄. It walks over the other side in
// tiles of N rows. Heads are padded with zeros to W features. The next pair of tiles is copied while the block works on the present pair.
//
// Scores stay in the registers of a product's result. Their layout is also that of a product's left operand, so they need no shared memory.
// Thread (group g, place t) of a warp holds rows g and g + 8, columns 8j + 2t and 8j + 2t + 1.
//
// Query i of a segment is at position i + keys − queries. It sees the keys up to that position, or the last `window` of them.

struct Tile {
    int query, queries, key, keys; // the segment: first rows and lengths in q and in k
    int first;                     // the tile's first row in the segment
};

DYNAMIC_SHARED

constexpr int ROWS = 64, THREADS = 128;
constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

#ifdef __CUDA_ARCH__
__device__ inline unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ inline void ldmatrix_x4(unsigned (&tile)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(tile[0]), "=r"(tile[1]), "=r"(tile[2]), "=r"(tile[3]) : "r"(shared_address(row)) : "memory");
}
__device__ inline void ldmatrix_x4_transposed(unsigned (&tile)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(tile[0]), "=r"(tile[1]), "=r"(tile[2]), "=r"(tile[3]) : "r"(shared_address(row)) : "memory");
}
__device__ inline void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Starts to copy 16 bytes, or writes zeros if not `there`.
__device__ inline void copy_async_16(void* to, const void* from, bool there) {
    int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ inline void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// Starts to copy T rows of a head into shared memory. Only `count` rows exist; the others become zeros.
template <int W, int T>
__device__ inline void stage(Bf16* tile, const Bf16* rows, int count, Long stride, int width) {
    for (int e = threadIdx.x; e < T * W / 8; e += THREADS) {
        int row = e / (W / 8), column = e % (W / 8) * 8;
        bool there = row < count && column < width;
        copy_async_16(tile + row * (W + 8) + column, there ? rows + row * stride + column : rows, there);
    }
}

// s = a·bᵀ for the warp's 16 rows of a and N rows of b.
template <int W, int N>
__device__ inline void dot_rows(float (&s)[N / 8][4], const Bf16* a, const Bf16* b) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int j = 0; j < N / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[j][e] = 0.0f;
#pragma unroll
    for (int k = 0; k < W / 16; ++k) {
        unsigned left[4];
        ldmatrix_x4(left, a + (warp * 16 + lane % 16) * (W + 8) + k * 16 + lane / 16 * 8);
#pragma unroll
        for (int j = 0; j < N / 16; ++j) {
            unsigned right[4];
            ldmatrix_x4(right, b + (j * 16 + lane % 8 + lane / 16 * 8) * (W + 8) + k * 16 + lane / 8 % 2 * 8);
            mma_m16n8k16(s[2 * j], left, right[0], right[1]);
            mma_m16n8k16(s[2 * j + 1], left, right[2], right[3]);
        }
    }
}

// sum += p·x for the warp's 16 rows of p, which are rounded to bfloat16, and N rows of x.
template <int W, int N>
__device__ inline void add_product(float (&sum)[W / 8][4], const float (&p)[N / 8][4], const Bf16* x) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < N / 16; ++k) {
        unsigned left[4] = {pack(p[2 * k][0], p[2 * k][1]), pack(p[2 * k][2], p[2 * k][3]), pack(p[2 * k + 1][0], p[2 * k + 1][1]),
                            pack(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
        for (int d = 0; d < W / 16; ++d) {
            unsigned right[4];
            ldmatrix_x4_transposed(right, x + (k * 16 + lane % 16) * (W + 8) + d * 16 + lane / 16 * 8);
            mma_m16n8k16(sum[2 * d], left, right[0], right[1]);
            mma_m16n8k16(sum[2 * d + 1], left, right[2], right[3]);
        }
    }
}

template <int W>
__device__ inline void clear(float (&sum)[W / 8][4]) {
#pragma unroll
    for (int d = 0; d < W / 8; ++d)
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[d][e] = 0.0f;
}

// Writes the warp's rows to `rows`, of which only `count` exist. The first 8 rows are multiplied by `low`, the other 8 by `high`.
template <int W>
__device__ inline void put_rows(Bf16* rows, const float (&sum)[W / 8][4], float low, float high, int count, Long stride, int width) {
    int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int row = first + 8 * half;
        float factor = half ? high : low;
#pragma unroll
        for (int d = 0; d < W / 8; ++d) {
            int column = d * 8 + lane % 4 * 2;
            if (row < count && column < width)
                *(unsigned*)(rows + row * stride + column) = pack(sum[d][2 * half] * factor, sum[d][2 * half + 1] * factor);
        }
    }
}

__device__ inline bool sees(const Tile& tile, int query, int key, int window) {
    int position = query + tile.keys - tile.queries;
    return query < tile.queries && key <= position && position - key < window;
}

// True if every query from `query` to `query` + `queries` sees every key from `key` to `key` + `keys`.
__device__ inline bool all_see(const Tile& tile, int query, int queries, int key, int keys, int window) {
    int shift = tile.keys - tile.queries;
    return query + queries <= tile.queries && key + keys - 1 <= query + shift && query + queries - 1 + shift - key < window;
}

// The range of keys that a tile of queries sees: the first key, rounded down to a multiple of N, and the end.
__device__ inline int first_key(const Tile& tile, int window, int N) {
    int first = tile.first + tile.keys - tile.queries + 1 - window;
    return first <= 0 ? 0 : first / N * N;
}
__device__ inline int last_key(const Tile& tile) {
    int last = tile.first + ROWS < tile.queries ? tile.first + ROWS : tile.queries;
    return last + tile.keys - tile.queries;
}

// Scales the scores to units of log₂, and sets those of unseen keys to −∞. Rows are queries from `query`, columns are keys from `key`.
template <int N>
__device__ inline void mask_scores(float (&s)[N / 8][4], const Tile& tile, int query, int key, int window, float scale) {
    int lane = threadIdx.x % 32, first = query + threadIdx.x / 32 * 16 + lane / 4;
    bool all = all_see(tile, query, ROWS, key, N, window);
#pragma unroll
    for (int j = 0; j < N / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            bool seen = all || sees(tile, first + e / 2 * 8, key + j * 8 + lane % 4 * 2 + e % 2, window);
            s[j][e] = seen ? s[j][e] * scale : -infinity();
        }
}

__device__ inline float over_quad(float x, bool largest) {
#pragma unroll
    for (int offset = 2; offset > 0; offset /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, x, offset);
        x = largest ? maximum(x, other) : x + other;
    }
    return x;
}

// Does one step of the online softmax for the rows of half `half`: s becomes e^{s − m}, and the sums so far are rescaled to m.
template <int W, int N>
__device__ inline void soften(float (&s)[N / 8][4], float (&sum)[W / 8][4], int half, float& largest, float& total) {
    float m = largest;
#pragma unroll
    for (int j = 0; j < N / 8; ++j) m = maximum(m, maximum(s[j][2 * half], s[j][2 * half + 1]));
    m = over_quad(m, true);
    float shift = m == -infinity() ? 0.0f : m, correction = exp2_fast(largest - shift), added = 0.0f;
#pragma unroll
    for (int j = 0; j < N / 8; ++j)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[j][e] = exp2_fast(s[j][e] - shift);
            added += s[j][e];
        }
    total = total * correction + added;
    largest = m;
#pragma unroll
    for (int d = 0; d < W / 8; ++d)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) sum[d][e] *= correction;
}

template <int W, int N>
__device__ inline void flash_forward(Bf16* output, float* logsumexp, const Bf16* q, const Bf16* k, const Bf16* v, const Tile* tiles, int heads,
                                     int kv_heads, int width, int window, float scale) {
    constexpr int S = W + 8;
    Bf16 *Q = (Bf16*)dynamic_shared, *K = Q + ROWS * S, *V = K + 2 * N * S;
    int lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head * kv_heads / heads;
    Tile tile = tiles[blockIdx.x];
    Long q_stride = (Long)heads * width, k_stride = (Long)kv_heads * width;
    Long q_offset = (Long)(tile.query + tile.first) * q_stride + (Long)head * width;
    Long k_offset = (Long)tile.key * k_stride + (Long)kv_head * width;
    int key = first_key(tile, window, N), end = last_key(tile), buffer = 0;
    stage<W, ROWS>(Q, q + q_offset, tile.queries - tile.first, q_stride, width);
    stage<W, N>(K, k + k_offset + key * k_stride, tile.keys - key, k_stride, width);
    stage<W, N>(V, v + k_offset + key * k_stride, tile.keys - key, k_stride, width);
    copy_async_commit();
    float largest[2] = {-infinity(), -infinity()}, total[2] = {0.0f, 0.0f}, sum[W / 8][4];
    clear<W>(sum);
    for (; key < end; key += N, buffer ^= 1) {
        int next = key + N, other = (buffer ^ 1) * N * S;
        if (next < end) {
            stage<W, N>(K + other, k + k_offset + next * k_stride, tile.keys - next, k_stride, width);
            stage<W, N>(V + other, v + k_offset + next * k_stride, tile.keys - next, k_stride, width);
        }
        copy_async_commit();
        copy_async_wait<1>();
        __syncthreads();
        float s[N / 8][4];
        dot_rows<W, N>(s, Q, K + buffer * N * S);
        mask_scores<N>(s, tile, tile.first, key, window, scale * LOG2_E);
        soften<W, N>(s, sum, 0, largest[0], total[0]);
        soften<W, N>(s, sum, 1, largest[1], total[1]);
        add_product<W, N>(sum, s, V + buffer * N * S);
        __syncthreads();
    }
    for (int half = 0; half < 2; ++half) {
        total[half] = over_quad(total[half], false);
        int row = tile.first + threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
        if (lane % 4 == 0 && row < tile.queries)
            logsumexp[(Long)(tile.query + row) * heads + head] = largest[half] * LN_2 + logf(total[half]);
    }
    put_rows<W>(output + q_offset, sum, 1.0f / total[0], 1.0f / total[1], tile.queries - tile.first, q_stride, width);
}

template <int W, int N>
__device__ inline void flash_queries(Bf16* q_bar, const Bf16* q, const Bf16* k, const Bf16* v, const float* logsumexp, const float* delta,
                                     const Bf16* o_bar, const Tile* tiles, int heads, int kv_heads, int width, int window, float scale) {
    constexpr int S = W + 8;
    Bf16 *Q = (Bf16*)dynamic_shared, *G = Q + ROWS * S, *K = G + ROWS * S, *V = K + 2 * N * S;
    int lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head * kv_heads / heads;
    Tile tile = tiles[blockIdx.x];
    Long q_stride = (Long)heads * width, k_stride = (Long)kv_heads * width;
    Long q_offset = (Long)(tile.query + tile.first) * q_stride + (Long)head * width;
    Long k_offset = (Long)tile.key * k_stride + (Long)kv_head * width;
    int key = first_key(tile, window, N), end = last_key(tile), buffer = 0;
    stage<W, ROWS>(Q, q + q_offset, tile.queries - tile.first, q_stride, width);
    stage<W, ROWS>(G, o_bar + q_offset, tile.queries - tile.first, q_stride, width);
    stage<W, N>(K, k + k_offset + key * k_stride, tile.keys - key, k_stride, width);
    stage<W, N>(V, v + k_offset + key * k_stride, tile.keys - key, k_stride, width);
    copy_async_commit();
    float totals[2], deltas[2], sum[W / 8][4];
    for (int half = 0; half < 2; ++half) {
        int row = tile.first + threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
        Long at = row < tile.queries ? (Long)(tile.query + row) * heads + head : 0;
        totals[half] = logsumexp[at] * LOG2_E;
        deltas[half] = delta[at];
    }
    clear<W>(sum);
    for (; key < end; key += N, buffer ^= 1) {
        int next = key + N, other = (buffer ^ 1) * N * S;
        if (next < end) {
            stage<W, N>(K + other, k + k_offset + next * k_stride, tile.keys - next, k_stride, width);
            stage<W, N>(V + other, v + k_offset + next * k_stride, tile.keys - next, k_stride, width);
        }
        copy_async_commit();
        copy_async_wait<1>();
        __syncthreads();
        float s[N / 8][4], p_bar[N / 8][4];
        dot_rows<W, N>(s, Q, K + buffer * N * S);
        dot_rows<W, N>(p_bar, G, V + buffer * N * S);
        mask_scores<N>(s, tile, tile.first, key, window, scale * LOG2_E);
#pragma unroll
        for (int j = 0; j < N / 8; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) s[j][e] = exp2_fast(s[j][e] - totals[e / 2]) * (p_bar[j][e] - deltas[e / 2]);
        add_product<W, N>(sum, s, K + buffer * N * S);
        __syncthreads();
    }
    put_rows<W>(q_bar + q_offset, sum, scale, scale, tile.queries - tile.first, q_stride, width);
}

// Starts to copy N queries of a head and the rows of ō. Also writes their logsumexps (in units of log₂) and δs.
template <int W, int N>
__device__ inline void stage_queries(Bf16* Q, Bf16* G, float* totals, float* deltas, const Bf16* q, const Bf16* o_bar, const float* logsumexp,
                                     const float* delta, const Tile& tile, int query, int head, int heads, int width) {
    Long stride = (Long)heads * width, offset = (Long)(tile.query + query) * stride + (Long)head * width;
    stage<W, N>(Q, q + offset, tile.queries - query, stride, width);
    stage<W, N>(G, o_bar + offset, tile.queries - query, stride, width);
    for (int i = threadIdx.x; i < N; i += THREADS) {
        Long at = query + i < tile.queries ? (Long)(tile.query + query + i) * heads + head : 0;
        totals[i] = logsumexp[at] * LOG2_E;
        deltas[i] = delta[at];
    }
}

template <int W, int N>
__device__ inline void flash_keys(Bf16* k_bar, Bf16* v_bar, const Bf16* q, const Bf16* k, const Bf16* v, const float* logsumexp,
                                  const float* delta, const Bf16* o_bar, const Tile* tiles, int heads, int kv_heads, int width, int window,
                                  float scale) {
    constexpr int S = W + 8;
    Bf16 *K = (Bf16*)dynamic_shared, *V = K + ROWS * S, *Q = V + ROWS * S, *G = Q + 2 * N * S;
    float *totals = (float*)(G + 2 * N * S), *deltas = totals + 2 * N;
    int lane = threadIdx.x % 32, kv_head = blockIdx.y, group = heads / kv_heads;
    Tile tile = tiles[blockIdx.x];
    Long k_stride = (Long)kv_heads * width, k_offset = (Long)(tile.key + tile.first) * k_stride + (Long)kv_head * width;
    int count = tile.keys - tile.first < ROWS ? tile.keys - tile.first : ROWS, shift = tile.keys - tile.queries;
    int first = tile.first - shift < 0 ? 0 : (tile.first - shift) / N * N;
    Long seen_until = (Long)tile.first + count - 1 + window - shift; // one past the last query that sees one of these keys
    int end = seen_until < tile.queries ? (int)seen_until : tile.queries;
    int steps = end <= first ? 0 : (end - first + N - 1) / N, all = steps * group; // tiles of a head's queries, and of all heads'
    stage<W, ROWS>(K, k + k_offset, count, k_stride, width);
    stage<W, ROWS>(V, v + k_offset, count, k_stride, width);
    if (all > 0) stage_queries<W, N>(Q, G, totals, deltas, q, o_bar, logsumexp, delta, tile, first, kv_head * group, heads, width);
    copy_async_commit();
    float k_sum[W / 8][4], v_sum[W / 8][4];
    clear<W>(k_sum);
    clear<W>(v_sum);
    for (int step = 0, buffer = 0; step < all; ++step, buffer ^= 1) {
        int next = step + 1, other = buffer ^ 1, query = first + step % steps * N;
        if (next < all)
            stage_queries<W, N>(Q + other * N * S, G + other * N * S, totals + other * N, deltas + other * N, q, o_bar, logsumexp, delta, tile,
                                first + next % steps * N, kv_head * group + next / steps, heads, width);
        copy_async_commit();
        copy_async_wait<1>();
        __syncthreads();
        float p[N / 8][4], s_bar[N / 8][4];
        dot_rows<W, N>(p, K, Q + buffer * N * S);
        dot_rows<W, N>(s_bar, V, G + buffer * N * S);
        bool all_seen = all_see(tile, query, N, tile.first, ROWS, window);
#pragma unroll
        for (int j = 0; j < N / 8; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                int column = j * 8 + lane % 4 * 2 + e % 2, key = tile.first + threadIdx.x / 32 * 16 + lane / 4 + e / 2 * 8;
                bool seen = all_seen || sees(tile, query + column, key, window);
                p[j][e] = seen ? exp2_fast(p[j][e] * (scale * LOG2_E) - totals[buffer * N + column]) : 0.0f;
                s_bar[j][e] = p[j][e] * (s_bar[j][e] - deltas[buffer * N + column]);
            }
        add_product<W, N>(v_sum, p, G + buffer * N * S);
        add_product<W, N>(k_sum, s_bar, Q + buffer * N * S);
        __syncthreads();
    }
    put_rows<W>(k_bar + k_offset, k_sum, scale, scale, count, k_stride, width);
    put_rows<W>(v_bar + k_offset, v_sum, 1.0f, 1.0f, count, k_stride, width);
}

#define FLASH_FORWARD(name, W, N) \
    KERNEL name(Bf16* output, float* logsumexp, const Bf16* q, const Bf16* k, const Bf16* v, const Tile* tiles, int heads, int kv_heads, \
                int width, int window, float scale) { \
        flash_forward<W, N>(output, logsumexp, q, k, v, tiles, heads, kv_heads, width, window, scale); \
    }
#define FLASH_QUERIES(name, W, N) \
    KERNEL name(Bf16* q_bar, const Bf16* q, const Bf16* k, const Bf16* v, const float* logsumexp, const float* delta, const Bf16* o_bar, \
                const Tile* tiles, int heads, int kv_heads, int width, int window, float scale) { \
        flash_queries<W, N>(q_bar, q, k, v, logsumexp, delta, o_bar, tiles, heads, kv_heads, width, window, scale); \
    }
#define FLASH_KEYS(name, W, N) \
    KERNEL name(Bf16* k_bar, Bf16* v_bar, const Bf16* q, const Bf16* k, const Bf16* v, const float* logsumexp, const float* delta, \
                const Bf16* o_bar, const Tile* tiles, int heads, int kv_heads, int width, int window, float scale) { \
        flash_keys<W, N>(k_bar, v_bar, q, k, v, logsumexp, delta, o_bar, tiles, heads, kv_heads, width, window, scale); \
    }

FLASH_FORWARD(flash_64, 64, 64)
FLASH_FORWARD(flash_128, 128, 64)
FLASH_QUERIES(flash_queries_64, 64, 64)
FLASH_QUERIES(flash_queries_128, 128, 32)
FLASH_KEYS(flash_keys_64, 64, 64)
FLASH_KEYS(flash_keys_128, 128, 32)
