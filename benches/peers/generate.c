/* The plain loop: a Llama decoder that writes tokens one by one, with a dot product for each row of each weight and nothing else. It is
   what a compiler makes of the formulas, for benches/generate.py to compare with.

       gcc -Ofast -march=native -fopenmp generate.c -lm -o generate
       OMP_NUM_THREADS=1 ./generate WIDTH INNER LAYERS HEADS VOCABULARY TOKENS ROUNDS

   The weights are random, the head is the embedding. Prints the tokens a second after the first, in the fastest round. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { float *q, *k, *v, *o, *gate, *up, *down, *norm1, *norm2; } Layer;

static unsigned state = 1;

static float uniform(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f;
}

static float *weights(int rows, int columns) {
    float *w = aligned_alloc(64, ((size_t)rows * columns * sizeof(float) + 63) / 64 * 64);
    for (long i = 0; i < (long)rows * columns; i++) w[i] = 0.04f * (uniform() - 0.5f);
    return w;
}

static void product(float *y, const float *x, const float *w, int inner, int rows) {
#pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < inner; j++) sum += w[(long)i * inner + j] * x[j];
        y[i] = sum;
    }
}

static void norm(float *y, const float *x, const float *gain, int width) {
    float sum = 0.0f;
    for (int i = 0; i < width; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / width + 1e-5f);
    for (int i = 0; i < width; i++) y[i] = gain[i] * scale * x[i];
}

static void rotate(float *x, int heads, int size, int position) {
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < size / 2; i++) {
            float angle = position * powf(10000.0f, -2.0f * i / size), *a = x + h * size + i, *b = a + size / 2;
            float c = cosf(angle), s = sinf(angle), first = *a;
            *a = first * c - *b * s;
            *b = first * s + *b * c;
        }
}

static void attention(float *y, const float *q, const float *keys, const float *values, int heads, int size, int seen) {
    int width = heads * size;
#pragma omp parallel for
    for (int h = 0; h < heads; h++) {
        float scores[seen], top = -1e30f, total = 0.0f, *out = y + h * size;
        for (int t = 0; t < seen; t++) {
            float sum = 0.0f;
            for (int i = 0; i < size; i++) sum += q[h * size + i] * keys[(long)t * width + h * size + i];
            scores[t] = sum / sqrtf(size);
            top = scores[t] > top ? scores[t] : top;
        }
        for (int t = 0; t < seen; t++) total += scores[t] = expf(scores[t] - top);
        memset(out, 0, size * sizeof(float));
        for (int t = 0; t < seen; t++)
            for (int i = 0; i < size; i++) out[i] += scores[t] / total * values[(long)t * width + h * size + i];
    }
}

/* One token by the probabilities of the softmax. */
static int choose(float *logits, int count) {
    float top = logits[0], total = 0.0f;
    for (int i = 1; i < count; i++) top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < count; i++) total += logits[i] = expf(logits[i] - top);
    float left = uniform() * total;
    for (int i = 0; i < count; i++)
        if ((left -= logits[i]) < 0.0f) return i;
    return count - 1;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int count, char **texts) {
    int n[7];
    if (count != 8) return fprintf(stderr, "seven numbers are needed: see the head of generate.c\n"), 2;
    for (int i = 0; i < 7; i++) n[i] = atoi(texts[i + 1]);
    int width = n[0], inner = n[1], layers = n[2], heads = n[3], vocabulary = n[4], tokens = n[5], rounds = n[6], size = width / heads;
    float *embedding = weights(vocabulary, width), *last = weights(1, width), fastest = 0.0f;
    Layer *all = malloc(layers * sizeof(Layer));
    for (int l = 0; l < layers; l++)
        all[l] = (Layer){weights(width, width), weights(width, width), weights(width, width), weights(width, width), weights(inner, width),
                         weights(inner, width), weights(width, inner), weights(1, width), weights(1, width)};
    float *keys = weights(layers * tokens, width), *values = weights(layers * tokens, width), *logits = weights(1, vocabulary);
    float *x = weights(1, width), *z = weights(1, width), *q = weights(1, width), *y = weights(1, width);
    float *g = weights(1, inner), *u = weights(1, inner);
    for (int round = 0; round < rounds; round++) {
        double start = 0.0;
        for (int t = 0, token = 1; t < tokens; t++) {
            memcpy(x, embedding + (long)token * width, width * sizeof(float));
            for (int l = 0; l < layers; l++) {
                Layer w = all[l];
                float *k = keys + ((long)l * tokens + t) * width, *v = values + ((long)l * tokens + t) * width;
                norm(z, x, w.norm1, width);
                product(q, z, w.q, width, width);
                product(k, z, w.k, width, width);
                product(v, z, w.v, width, width);
                rotate(q, heads, size, t);
                rotate(k, heads, size, t);
                attention(y, q, keys + (long)l * tokens * width, values + (long)l * tokens * width, heads, size, t + 1);
                product(z, y, w.o, width, width);
                for (int i = 0; i < width; i++) x[i] += z[i];
                norm(z, x, w.norm2, width);
                product(g, z, w.gate, width, inner);
                product(u, z, w.up, width, inner);
                for (int i = 0; i < inner; i++) g[i] = g[i] / (1.0f + expf(-g[i])) * u[i];
                product(z, g, w.down, inner, width);
                for (int i = 0; i < width; i++) x[i] += z[i];
            }
            norm(z, x, last, width);
            product(logits, z, embedding, width, vocabulary);
            token = choose(logits, vocabulary);
            if (t == 0) start = now();
        }
        float rate = (tokens - 1) / (now() - start);
        fastest = rate > fastest ? rate : fastest;
    }
    printf("%.1f\n", fastest);
    return 0;
}
