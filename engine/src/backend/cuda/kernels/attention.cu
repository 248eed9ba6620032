// Causal grouped-query attention in tiles with online softmax, forward and backward, in f32.
//
// A block of 16 × 16 threads works on tiles of T = 16·R queries and T keys. Heads are padded with zeros to W features. Thread (ty, tx)
// holds the scores of rows ty + 16r and columns tx + 16c, and the results of rows ty + 16r and features tx + 16c. Only the scores of one
// tile exist at a time.
//
// In the backward pass only one block writes each result, so no atomics are needed. One kernel computes q̄, another k̄ and v̄.
//
// Query i of a segment is at position i + keys − queries. It sees the keys up to that position, or the last `window` of them.

struct Tile {
    int query, queries, key, keys; // the segment: first rows and lengths in q and in k
    int first;                     // the tile's first row in the segment
};

DYNAMIC_SHARED

template <int W, int T>
__device__ inline void load(float* tile, const float* rows, int count, Long stride, int width) {
    for (int e = threadIdx.x; e < T * W; e += 256) {
        int row = e / W, column = e % W;
        tile[row * (W + 1) + column] = row < count && column < width ? rows[row * stride + column] : 0.0f;
    }
}

// s[r][c] = a[ty + 16r]·b[tx + 16c].
template <int W, int R>
__device__ inline void dot_rows(float (&s)[R][R], const float* a, const float* b) {
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < R; ++c) s[r][c] = 0.0f;
    for (int d = 0; d < W; ++d) {
        float x[R], y[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            x[r] = a[(ty + 16 * r) * (W + 1) + d];
            y[r] = b[(tx + 16 * r) * (W + 1) + d];
        }
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int c = 0; c < R; ++c) s[r][c] += x[r] * y[c];
    }
}

// sum[r][c] += Σ_j p(ty + 16r, j)·x[j][tx + 16c]. p is stored transposed if `by_column`.
template <int W, int R, bool by_column>
__device__ inline void add_product(float (&sum)[R][W / 16], const float* p, const float* x) {
    constexpr int T = 16 * R, C = W / 16;
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    for (int j = 0; j < T; ++j) {
        float weight[R];
#pragma unroll
        for (int r = 0; r < R; ++r) weight[r] = by_column ? p[j * (T + 1) + ty + 16 * r] : p[(ty + 16 * r) * (T + 1) + j];
#pragma unroll
        for (int c = 0; c < C; ++c) {
            float value = x[j * (W + 1) + tx + 16 * c];
#pragma unroll
            for (int r = 0; r < R; ++r) sum[r][c] += weight[r] * value;
        }
    }
}

template <int W, int R>
__device__ inline void store(float* rows, const float (&values)[R][W / 16], const float (&factors)[R], int count, Long stride, int width) {
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < W / 16; ++c)
            if (ty + 16 * r < count && tx + 16 * c < width) rows[(ty + 16 * r) * stride + tx + 16 * c] = values[r][c] * factors[r];
}

__device__ inline bool sees(const Tile& tile, int query, int key, int window) {
    int position = query + tile.keys - tile.queries;
    return query < tile.queries && key <= position && position - key < window;
}

// The range of keys that a tile of queries sees: the first key, rounded down to a multiple of T, and the end.
__device__ inline int first_key(const Tile& tile, int window, int T) {
    int first = tile.first + tile.keys - tile.queries + 1 - window;
    return first <= 0 ? 0 : first / T * T;
}
__device__ inline int last_key(const Tile& tile, int T) {
    int last = tile.first + T < tile.queries ? tile.first + T : tile.queries;
    return last + tile.keys - tile.queries;
}

template <int W, int R>
__device__ inline void forward(float* output, float* logsumexp, const float* q, const float* k, const float* v, const Tile* tiles,
                               int heads, int kv_heads, int width, int window, float scale) {
    constexpr int T = 16 * R, C = W / 16;
    float *Q = dynamic_shared, *K = Q + T * (W + 1), *V = K + T * (W + 1), *P = V + T * (W + 1);
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16, head = blockIdx.y, kv_head = head * kv_heads / heads;
    Tile tile = tiles[blockIdx.x];
    Long q_stride = (Long)heads * width, k_stride = (Long)kv_heads * width;
    Long q_row = tile.query + tile.first, q_offset = q_row * q_stride + (Long)head * width;
    load<W, T>(Q, q + q_offset, tile.queries - tile.first, q_stride, width);
    float largest[R], total[R], sum[R][C];
    for (int r = 0; r < R; ++r) {
        largest[r] = -infinity();
        total[r] = 0.0f;
        for (int c = 0; c < C; ++c) sum[r][c] = 0.0f;
    }
    for (int key = first_key(tile, window, T), end = last_key(tile, T); key < end; key += T) {
        Long k_offset = (Long)(tile.key + key) * k_stride + (Long)kv_head * width;
        __syncthreads();
        load<W, T>(K, k + k_offset, tile.keys - key, k_stride, width);
        load<W, T>(V, v + k_offset, tile.keys - key, k_stride, width);
        __syncthreads();
        float s[R][R];
        dot_rows<W, R>(s, Q, K);
#pragma unroll
        for (int r = 0; r < R; ++r) {
            float m = largest[r];
#pragma unroll
            for (int c = 0; c < R; ++c) {
                bool visible = sees(tile, tile.first + ty + 16 * r, key + tx + 16 * c, window);
                s[r][c] = visible ? s[r][c] * scale : -infinity();
                m = maximum(m, s[r][c]);
            }
            for (int offset = 8; offset > 0; offset /= 2) m = maximum(m, __shfl_xor_sync(0xffffffffu, m, offset));
            float shift = m == -infinity() ? 0.0f : m, correction = expf(largest[r] - shift), added = 0.0f;
#pragma unroll
            for (int c = 0; c < R; ++c) {
                float p = expf(s[r][c] - shift);
                P[(ty + 16 * r) * (T + 1) + tx + 16 * c] = p;
                added += p;
            }
            for (int offset = 8; offset > 0; offset /= 2) added += __shfl_xor_sync(0xffffffffu, added, offset);
            total[r] = total[r] * correction + added;
            largest[r] = m;
#pragma unroll
            for (int c = 0; c < C; ++c) sum[r][c] *= correction;
        }
        __syncthreads();
        add_product<W, R, false>(sum, P, V);
    }
    float factors[R];
    for (int r = 0; r < R; ++r) {
        factors[r] = 1.0f / total[r];
        int row = tile.first + ty + 16 * r;
        if (tx == 0 && row < tile.queries) logsumexp[(Long)(tile.query + row) * heads + head] = largest[r] + logf(total[r]);
    }
    store<W, R>(output + q_offset, sum, factors, tile.queries - tile.first, q_stride, width);
}

// Computes the probabilities p and the scores' cotangents p∘(p̄ − δ) of one tile from the tiles of q, ō, k and v.
template <int W, int R>
__device__ inline void score_cotangents(float (&p)[R][R], float (&s_bar)[R][R], const float* Q, const float* G, const float* K,
                                        const float* V, const float* logsumexp, const float* delta, const Tile& tile, int query, int key,
                                        int heads, int head, int window, float scale) {
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    dot_rows<W, R>(p, Q, K);
    dot_rows<W, R>(s_bar, G, V);
#pragma unroll
    for (int r = 0; r < R; ++r) {
        int i = query + ty + 16 * r;
        Long at = i < tile.queries ? (Long)(tile.query + i) * heads + head : 0;
        float total = logsumexp[at], d = delta[at];
#pragma unroll
        for (int c = 0; c < R; ++c) {
            p[r][c] = sees(tile, i, key + tx + 16 * c, window) ? expf(p[r][c] * scale - total) : 0.0f;
            s_bar[r][c] = p[r][c] * (s_bar[r][c] - d);
        }
    }
}

template <int R>
__device__ inline void put(float* shared, const float (&values)[R][R]) {
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < R; ++c) shared[(ty + 16 * r) * (16 * R + 1) + tx + 16 * c] = values[r][c];
}

template <int W, int R>
__device__ inline void backward_queries(float* q_bar, const float* q, const float* k, const float* v, const float* logsumexp,
                                        const float* delta, const float* o_bar, const Tile* tiles, int heads, int kv_heads, int width,
                                        int window, float scale) {
    constexpr int T = 16 * R, C = W / 16;
    float *Q = dynamic_shared, *G = Q + T * (W + 1), *K = G + T * (W + 1), *V = K + T * (W + 1), *S = V + T * (W + 1);
    int head = blockIdx.y, kv_head = head * kv_heads / heads;
    Tile tile = tiles[blockIdx.x];
    Long q_stride = (Long)heads * width, k_stride = (Long)kv_heads * width;
    Long q_offset = (Long)(tile.query + tile.first) * q_stride + (Long)head * width;
    load<W, T>(Q, q + q_offset, tile.queries - tile.first, q_stride, width);
    load<W, T>(G, o_bar + q_offset, tile.queries - tile.first, q_stride, width);
    float sum[R][C], factors[R];
    for (int r = 0; r < R; ++r) {
        factors[r] = scale;
        for (int c = 0; c < C; ++c) sum[r][c] = 0.0f;
    }
    for (int key = first_key(tile, window, T), end = last_key(tile, T); key < end; key += T) {
        Long k_offset = (Long)(tile.key + key) * k_stride + (Long)kv_head * width;
        __syncthreads();
        load<W, T>(K, k + k_offset, tile.keys - key, k_stride, width);
        load<W, T>(V, v + k_offset, tile.keys - key, k_stride, width);
        __syncthreads();
        float p[R][R], s_bar[R][R];
        score_cotangents<W, R>(p, s_bar, Q, G, K, V, logsumexp, delta, tile, tile.first, key, heads, head, window, scale);
        put<R>(S, s_bar);
        __syncthreads();
        add_product<W, R, false>(sum, S, K);
    }
    store<W, R>(q_bar + q_offset, sum, factors, tile.queries - tile.first, q_stride, width);
}

template <int W, int R>
__device__ inline void backward_keys(float* k_bar, float* v_bar, const float* q, const float* k, const float* v, const float* logsumexp,
                                     const float* delta, const float* o_bar, const Tile* tiles, int heads, int kv_heads, int width,
                                     int window, float scale) {
    constexpr int T = 16 * R, C = W / 16;
    float *Q = dynamic_shared, *G = Q + T * (W + 1), *K = G + T * (W + 1), *V = K + T * (W + 1);
    float *P = V + T * (W + 1), *S = P + T * (T + 1);
    int kv_head = blockIdx.y, group = heads / kv_heads;
    Tile tile = tiles[blockIdx.x];
    Long q_stride = (Long)heads * width, k_stride = (Long)kv_heads * width;
    Long k_offset = (Long)(tile.key + tile.first) * k_stride + (Long)kv_head * width;
    int count = tile.keys - tile.first < T ? tile.keys - tile.first : T, shift = tile.keys - tile.queries;
    load<W, T>(K, k + k_offset, count, k_stride, width);
    load<W, T>(V, v + k_offset, count, k_stride, width);
    float k_sum[R][C], v_sum[R][C], scales[R], ones[R];
    for (int r = 0; r < R; ++r) {
        scales[r] = scale;
        ones[r] = 1.0f;
        for (int c = 0; c < C; ++c) k_sum[r][c] = v_sum[r][c] = 0.0f;
    }
    int first = tile.first - shift < 0 ? 0 : (tile.first - shift) / T * T;
    Long seen_until = (Long)tile.first + count - 1 + window - shift; // one past the last query that sees one of these keys
    int end = seen_until < tile.queries ? (int)seen_until : tile.queries;
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (int query = first; query < end; query += T) {
            Long q_offset = (Long)(tile.query + query) * q_stride + (Long)head * width;
            __syncthreads();
            load<W, T>(Q, q + q_offset, tile.queries - query, q_stride, width);
            load<W, T>(G, o_bar + q_offset, tile.queries - query, q_stride, width);
            __syncthreads();
            float p[R][R], s_bar[R][R];
            score_cotangents<W, R>(p, s_bar, Q, G, K, V, logsumexp, delta, tile, query, tile.first, heads, head, window, scale);
            put<R>(P, p);
            put<R>(S, s_bar);
            __syncthreads();
            add_product<W, R, true>(v_sum, P, G);
            add_product<W, R, true>(k_sum, S, Q);
        }
    }
    store<W, R>(k_bar + k_offset, k_sum, scales, count, k_stride, width);
    store<W, R>(v_bar + k_offset, v_sum, ones, count, k_stride, width);
}

#define FORWARD(name, W, R) \
    KERNEL name(float* output, float* logsumexp, const float* q, const float* k, const float* v, const Tile* tiles, int heads, \
                int kv_heads, int width, int window, float scale) { \
        forward<W, R>(output, logsumexp, q, k, v, tiles, heads, kv_heads, width, window, scale); \
    }
#define BACKWARD_QUERIES(name, W, R) \
    KERNEL name(float* q_bar, const float* q, const float* k, const float* v, const float* logsumexp, const float* delta, \
                const float* o_bar, const Tile* tiles, int heads, int kv_heads, int width, int window, float scale) { \
        backward_queries<W, R>(q_bar, q, k, v, logsumexp, delta, o_bar, tiles, heads, kv_heads, width, window, scale); \
    }
#define BACKWARD_KEYS(name, W, R) \
    KERNEL name(float* k_bar, float* v_bar, const float* q, const float* k, const float* v, const float* logsumexp, \
                const float* delta, const float* o_bar, const Tile* tiles, int heads, int kv_heads, int width, int window, float scale) { \
        backward_keys<W, R>(k_bar, v_bar, q, k, v, logsumexp, delta, o_bar, tiles, heads, kv_heads, width, window, scale); \
    }

FORWARD(attention_64, 64, 4)
FORWARD(attention_128, 128, 2)
FORWARD(attention_256, 256, 1)
BACKWARD_QUERIES(attention_queries_64, 64, 2)
BACKWARD_QUERIES(attention_queries_128, 128, 2)
BACKWARD_QUERIES(attention_queries_256, 256, 1)
BACKWARD_KEYS(attention_keys_64, 64, 2)
BACKWARD_KEYS(attention_keys_128, 128, 2)
BACKWARD_KEYS(attention_keys_256, 256, 1)
