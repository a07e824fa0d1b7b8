/*
 * A backend for `quamba conform` in C11: one file, nothing but the standard library.
 *
 *     make && quamba conform --backend exec:./backend --profile tolerant
 *
 * Three parts: the ops, the table that names them, and the protocol (docs/conformance-protocol.md). To add an op, write a
 * function like those below and give it a row in the table. Compile without contraction (-ffp-contract=off): a fused
 * multiply-add rounds once where the reference rounds twice.
 *
 * It runs on little-endian machines, as the tensors are little-endian.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 8, MOST_AXES = 4 };

typedef struct {
    char name[16];
    char dtype[4]; /* f32, i8 or i32 */
    int rank;
    long shape[MOST_AXES];
    size_t offset, bytes; /* in the data of the frame */
    void *data;
} Tensor;

typedef struct {
    Tensor inputs[MOST_TENSORS], outputs[MOST_TENSORS];
    int input_count, output_count;
    const char *attrs; /* a JSON object */
} Call;

/* ---- what an op asks its call ---------------------------------------------------------------------------------------- */

/* The tensor of this name, or NULL: an optional input that is absent is not in the list. */
static const Tensor *find(const Tensor *tensors, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
    return NULL;
}
static const Tensor *input(const Call *call, const char *name) { return find(call->inputs, call->input_count, name); }
static void *output(const Call *call, const char *name) {
    return find(call->outputs, call->output_count, name)->data;
}
static double number_attr(const Call *call, const char *key, double otherwise);
static bool text_attr_is(const Call *call, const char *key, const char *value);

/* ---- the ops: each returns NULL, or why it cannot do this call -------------------------------------------------------- */

/* q = clamp(round(x / scale), -128, 127), ties to even */
static const char *quantize(const Call *call) {
    const Tensor *x = input(call, "x"), *scale = input(call, "scale");
    const float *xs = x->data, *s = scale->data;
    int8_t *q = output(call, "q");
    long l = x->shape[0], n = x->shape[1];
    for (long t = 0; t < l; t++)
        for (long j = 0; j < n; j++) {
            float steps = xs[t * n + j] / s[scale->shape[0] == 1 ? 0 : t];
            q[t * n + j] = (int8_t)rintf(fminf(fmaxf(steps, -128.0f), 127.0f));
        }
    return NULL;
}

/* x = scale * q */
static const char *dequantize(const Call *call) {
    const Tensor *q = input(call, "q"), *scale = input(call, "scale");
    const int8_t *qs = q->data;
    const float *s = scale->data;
    float *x = output(call, "x");
    long l = q->shape[0], n = q->shape[1];
    for (long t = 0; t < l; t++)
        for (long j = 0; j < n; j++) x[t * n + j] = s[scale->shape[0] == 1 ? 0 : t] * qs[t * n + j];
    return NULL;
}

/* y = (xscale * wscale) * (x w^T) + b, with one scale for w, one for each row, or one for each group of a row */
static const char *linear_i8(const Call *call) {
    const Tensor *x = input(call, "x"), *w = input(call, "w"), *b = input(call, "b");
    const Tensor *xscale = input(call, "xscale"), *wscale = input(call, "wscale");
    const int8_t *xs = x->data, *ws = w->data;
    const float *sx = xscale->data, *sw = wscale->data;
    float *y = output(call, "y");
    long l = x->shape[0], i = x->shape[1], o = w->shape[0], p = wscale->shape[0], g = wscale->shape[1], run = i / g;
    for (long t = 0; t < l; t++)
        for (long row = 0; row < o; row++) {
            float sum = 0;
            for (long group = 0; group < g; group++) {
                int32_t acc = 0;
                for (long k = group * run; k < (group + 1) * run; k++) acc += xs[t * i + k] * ws[row * i + k];
                float m = sx[xscale->shape[0] == 1 ? 0 : t] * sw[(p == 1 ? 0 : row) * g + group];
                float part = (float)acc * m;
                sum = group == 0 ? part : sum + part;
            }
            y[t * o + row] = b ? sum + ((const float *)b->data)[row] : sum;
        }
    return NULL;
}

/* Below -128 it is -0, and -inf / inf would not be. */
static float silu(float x) {
    float c = x < -128.0f ? -128.0f : x;
    return c / (1.0f + expf(-c));
}

/* y[t, c] = silu(sum over j of w[c, j] * x[t - (k-1) + j, c] + b[c]); the state `past` is the last k-1 inputs, oldest first */
static const char *causal_conv1d(const Call *call) {
    const Tensor *x = input(call, "x"), *w = input(call, "w"), *b = input(call, "b"), *before = input(call, "past");
    const float *xs = x->data, *ws = w->data;
    float *y = output(call, "y"), *after = output(call, "past");
    long l = x->shape[0], d = x->shape[1], past = w->shape[1] - 1;
    bool activate = text_attr_is(call, "activation", "silu");
    float *window = malloc((size_t)(past + l) * sizeof *window); /* of one channel: its state, then its inputs */
    for (long c = 0; c < d; c++) {
        for (long j = 0; j < past; j++) window[j] = before ? ((const float *)before->data)[c * past + j] : 0;
        for (long t = 0; t < l; t++) window[past + t] = xs[t * d + c];
        for (long t = 0; t < l; t++) {
            float sum = ws[c * (past + 1)] * window[t];
            for (long j = 1; j <= past; j++) sum += ws[c * (past + 1) + j] * window[t + j];
            if (b) sum += ((const float *)b->data)[c];
            y[t * d + c] = activate ? silu(sum) : sum;
        }
        memcpy(after + c * past, window + l, (size_t)past * sizeof *after);
    }
    free(window);
    return NULL;
}

/* y = (x * r) * w, r = 1 / sqrt(mean(x^2) + eps). The squares are added in 32 lanes, then the lanes in a tree. */
static const char *rms_norm(const Call *call) {
    const Tensor *x = input(call, "x"), *w = input(call, "w");
    const float *xs = x->data;
    float *y = output(call, "y");
    long l = x->shape[0], m = x->shape[1];
    float eps = (float)number_attr(call, "eps", 1e-5);
    for (long t = 0; t < l; t++) {
        float lanes[32] = {0};
        for (long j = 0; j < m; j++) lanes[j % 32] += xs[t * m + j] * xs[t * m + j];
        for (int half = 16; half >= 1; half /= 2)
            for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
        float r = 1.0f / sqrtf(lanes[0] / (float)m + eps);
        for (long j = 0; j < m; j++) {
            float normed = xs[t * m + j] * r;
            y[t * m + j] = w ? normed * ((const float *)w->data)[j] : normed;
        }
    }
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *op;
    const char *(*run)(const Call *);
} kernels[] = {
    {"quantize", quantize},
    {"dequantize", dequantize},
    {"linear-i8", linear_i8},
    {"causal-conv1d", causal_conv1d},
    {"rms-norm", rms_norm},
};
enum { KERNELS = sizeof kernels / sizeof kernels[0] };

/* ---- JSON, as much as a header needs: valid, and no backslash in a text ------------------------------------------------ */

static const char *space(const char *p) {
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
    return p;
}

/* Past the value at p. */
static const char *skip(const char *p) {
    int depth = 0;
    do {
        p = space(p);
        if (*p == '"') p = strchr(p + 1, '"') + 1;
        else if (*p == '{' || *p == '[') depth++, p++;
        else if (*p == '}' || *p == ']') depth--, p++;
        else if (*p == ',' || *p == ':') p++;
        else p += strcspn(p, ",:]} \t\r\n");
    } while (depth > 0);
    return p;
}

/* The value of a key of the object at p, or NULL. */
static const char *member(const char *p, const char *key) {
    size_t length = strlen(key);
    for (p = space(p) + 1; *(p = space(p)) == '"';) {
        bool same = strncmp(p + 1, key, length) == 0 && p[1 + length] == '"';
        p = space(space(skip(p)) + 1); /* past the colon */
        if (same) return p;
        p = space(skip(p));
        if (*p == ',') p++;
    }
    return NULL;
}

/* The next value of an array, or NULL at its end. p is the array at first, then what this gave. */
static const char *next(const char *p, bool first) {
    p = space(first ? space(p) + 1 : skip(p));
    if (*p == ',') p = space(p + 1);
    return *p == ']' ? NULL : p;
}

static void copy_text(const char *p, char *to, size_t size) {
    snprintf(to, size, "%.*s", (int)strcspn(p + 1, "\""), p + 1);
}
static double number_attr(const Call *call, const char *key, double otherwise) {
    const char *value = member(call->attrs, key);
    return value ? strtod(value, NULL) : otherwise;
}
static bool text_attr_is(const Call *call, const char *key, const char *value) {
    const char *p = member(call->attrs, key);
    return p && strncmp(p + 1, value, strlen(value)) == 0 && p[1 + strlen(value)] == '"';
}

/* ---- the protocol ---------------------------------------------------------------------------------------------------- */

static int read_tensors(const char *list, Tensor *tensors) {
    int count = 0;
    for (const char *p = next(list, true); p && count < MOST_TENSORS; p = next(p, false)) {
        Tensor *t = &tensors[count++];
        copy_text(member(p, "name"), t->name, sizeof t->name);
        copy_text(member(p, "dtype"), t->dtype, sizeof t->dtype);
        t->rank = 0;
        for (const char *axis = next(member(p, "shape"), true); axis && t->rank < MOST_AXES; axis = next(axis, false))
            t->shape[t->rank++] = strtol(axis, NULL, 10);
        t->offset = (size_t)strtod(member(p, "offset"), NULL);
        t->bytes = (size_t)strtod(member(p, "bytes"), NULL);
    }
    return count;
}
static void place(Tensor *tensors, int count, char *data) {
    for (int i = 0; i < count; i++) tensors[i].data = data + tensors[i].offset;
}

/* Aligned as the offsets are, so that every tensor is. */
static char *buffer(size_t size) {
    char *data = aligned_alloc(64, (size / 64 + 1) * 64);
    if (!data) {
        fprintf(stderr, "backend: no memory for %zu bytes\n", size);
        exit(1);
    }
    return data;
}

static void send(const char *header, const void *data, size_t size) {
    uint32_t sizes[2] = {(uint32_t)strlen(header), (uint32_t)size};
    fwrite(sizes, sizeof sizes, 1, stdout);
    fwrite(header, 1, sizes[0], stdout);
    fwrite(data, 1, size, stdout);
    fflush(stdout);
}

static void send_reason(const char *key, const char *why) {
    char header[256];
    snprintf(header, sizeof header, "{\"%s\": \"%s\"}", key, why);
    send(header, "", 0);
}

static void greet(void) {
    char header[1024] = "{\"name\": \"example-c\", \"ops\": [";
    for (int i = 0; i < KERNELS; i++) {
        char *end = header + strlen(header);
        snprintf(end, (size_t)(header + sizeof header - end), "%s\"%s\"", i ? ", " : "", kernels[i].op);
    }
    strncat(header, "]}", sizeof header - strlen(header) - 1);
    send(header, "", 0);
}

static void answer(const char *header, char *data) {
    if (member(header, "hello")) {
        greet();
        return;
    }
    char op[32];
    copy_text(member(header, "op"), op, sizeof op);
    for (int i = 0; i < KERNELS; i++) {
        if (strcmp(kernels[i].op, op) != 0) continue;
        Call call = {.attrs = member(header, "attrs")};
        call.input_count = read_tensors(member(header, "inputs"), call.inputs);
        call.output_count = read_tensors(member(header, "outputs"), call.outputs);
        const Tensor *last = &call.outputs[call.output_count - 1];
        size_t size = last->offset + last->bytes;
        char *results = buffer(size);
        memset(results, 0xff, size); /* NaN: what a kernel forgets to write is then seen */
        place(call.inputs, call.input_count, data);
        place(call.outputs, call.output_count, results);
        const char *why = kernels[i].run(&call);
        if (why) send_reason("unsupported", why);
        else send("{\"ok\": true}", results, size);
        free(results);
        return;
    }
    send_reason("unsupported", "there is no kernel for this op");
}

int main(void) {
    uint32_t sizes[2];
    while (fread(sizes, sizeof sizes, 1, stdin) == 1) {
        char *header = buffer(sizes[0] + 1), *data = buffer(sizes[1]);
        if (fread(header, 1, sizes[0], stdin) != sizes[0] || fread(data, 1, sizes[1], stdin) != sizes[1]) {
            fprintf(stderr, "backend: stdin ended within a frame\n");
            return 1;
        }
        header[sizes[0]] = '\0';
        answer(header, data);
        free(header);
        free(data);
    }
    return 0;
}
