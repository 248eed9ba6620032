// Gathers and their adjoints. No atomics are needed: one thread sums each result, in the order of its terms.

KERNEL gather_rows(float* y, const float* table, const unsigned* rows, int width, Long n) {
    FOR_EACH(i, n) y[i] = table[(Long)rows[i / width] * width + i % width];
}

// The terms of row r are x[order[e]] for e in starts[r]..starts[r + 1].
KERNEL scatter_add_rows(float* y, const float* x, const unsigned* starts, const unsigned* order, int width, Long n) {
    FOR_EACH(i, n) {
        Long row = i / width, column = i % width;
        float total = 0.0f;
        for (unsigned e = starts[row]; e < starts[row + 1]; ++e) total += x[(Long)order[e] * width + column];
        y[i] = total;
    }
}

// x [rows, width] → y [rows, k].
KERNEL gather_last(float* y, const float* x, const unsigned* index, int k, int width, Long n) {
    FOR_EACH(i, n) y[i] = x[i / k * width + index[i]];
}

// x [rows, k] → y [rows, width]. y must be zero before. One thread for each row.
KERNEL scatter_add_last(float* y, const float* x, const unsigned* index, int k, int width, Long rows) {
    FOR_EACH(row, rows) {
        for (int j = 0; j < k; ++j) y[row * width + index[row * k + j]] += x[row * k + j];
    }
}
