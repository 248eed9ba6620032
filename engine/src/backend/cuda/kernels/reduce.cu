// Sums and maxima along an axis, in a fixed order. x is [outer, extent, inner], and y is [outer, chunks, inner]: the axis is cut into
// chunks of `chunk`. If there is more than one chunk, another call reduces the chunks.

// inner = 1: a block for each row and chunk.
KERNEL sum_rows(float* y, const float* x, Long extent, Long chunk, Long chunks) {
    Long row = blockIdx.x / chunks, start = blockIdx.x % chunks * chunk;
    Long end = start + chunk < extent ? start + chunk : extent;
    float total = 0.0f;
    for (Long j = start + threadIdx.x; j < end; j += blockDim.x) total += x[row * extent + j];
    total = block_sum(total);
    if (threadIdx.x == 0) y[blockIdx.x] = total;
}

KERNEL max_rows(float* y, const float* x, Long extent, Long chunk, Long chunks) {
    Long row = blockIdx.x / chunks, start = blockIdx.x % chunks * chunk;
    Long end = start + chunk < extent ? start + chunk : extent;
    float largest = -infinity();
    for (Long j = start + threadIdx.x; j < end; j += blockDim.x) largest = maximum(largest, x[row * extent + j]);
    largest = block_max(largest);
    if (threadIdx.x == 0) y[blockIdx.x] = largest;
}

// A thread for each result; n = outer·chunks·inner.
KERNEL sum_columns(float* y, const float* x, Long extent, Long inner, Long chunk, Long chunks, Long n) {
    FOR_EACH(i, n) {
        Long column = i % inner, part = i / inner % chunks, outer = i / inner / chunks;
        Long start = part * chunk, end = start + chunk < extent ? start + chunk : extent;
        float total = 0.0f;
        for (Long j = start; j < end; ++j) total += x[(outer * extent + j) * inner + column];
        y[i] = total;
    }
}

KERNEL max_columns(float* y, const float* x, Long extent, Long inner, Long chunk, Long chunks, Long n) {
    FOR_EACH(i, n) {
        Long column = i % inner, part = i / inner % chunks, outer = i / inner / chunks;
        Long start = part * chunk, end = start + chunk < extent ? start + chunk : extent;
        float largest = -infinity();
        for (Long j = start; j < end; ++j) largest = maximum(largest, x[(outer * extent + j) * inner + column]);
        y[i] = largest;
    }
}
