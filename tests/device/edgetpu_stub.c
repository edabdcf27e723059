/* A stub of libedgetpu.so.1 for tests: an external delegate of TensorFlow Lite that takes "edgetpu-custom-op" and breaks
 * on demand. No Edge TPU, no driver and no firmware is involved; nothing measured with it says anything about one.
 *
 * The operator's custom options hold a network in float32: embedding = W x mean colour + b, probs = softmax(V x embedding
 * + c). The environment variable EDGETPU_STUB names a file that says what happens, read again at every call:
 *
 *     ok | absent | refuse | segfault@N | abort@N | exit@N | hang@N | unplug@N | nan@N | garbage@N | wrong@N | shape@N |
 *     slow@N
 *
 * N counts inferences of one process from 1 on; @0 is while the model is loaded.
 *
 * The structures are those of the C ABI between TensorFlow Lite and its delegates on 64-bit machines, as far as used. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1 };
enum { FLOAT32 = 1, UINT8 = 3 };
enum { COLOURS = 3, WIDTH = 8, CLASSES = 4 };
enum { ALLOW_DYNAMIC_TENSORS = 1 }; /* else the graph is prepared before this delegate sees its unknown operator */

typedef struct { int size; int data[]; } Ints;

typedef struct {
    int type;
    void *data;
    Ints *dims;
    float scale;
    int32_t zero_point;
    int allocation_type;
    size_t bytes;
    char rest[64];
} Tensor;
_Static_assert(sizeof(Tensor) == 112, "a tensor has 112 bytes");

typedef struct {
    Ints *inputs, *outputs, *intermediates, *temporaries;
    void *user_data, *builtin_data;
    const void *custom_options;
    int custom_options_size;
} Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
    void *(*init)(Context *, const char *, size_t);
    void (*free)(Context *, void *);
    int (*prepare)(Context *, Node *);
    int (*invoke)(Context *, Node *);
    void *profiling_string;
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *rest[8];
} Kernel;

struct Context {
    size_t tensor_count;
    int (*get_execution_plan)(Context *, Ints **);
    Tensor *tensors;
    void *implementation;
    void *resize_tensor;
    void (*report)(Context *, const char *, ...);
    void *add_tensors;
    int (*get_node)(Context *, int, Node **, Kernel **);
    int (*replace_nodes)(Context *, Kernel, const Ints *, Delegate *);
};

struct Delegate {
    void *data;
    int (*prepare)(Context *, Delegate *);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *rest[4];
};

typedef struct { float w[WIDTH][COLOURS], b[WIDTH], v[CLASSES][WIDTH], c[CLASSES]; } Network;

static Network network;
static long calls;

/* Whether `mode` is what the control file says for this very call. */
static bool told(const char *mode) {
    char line[64] = "ok", wanted[64];
    const char *path = getenv("EDGETPU_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (!fgets(line, sizeof line, file)) strcpy(line, "ok");
        fclose(file);
    }
    line[strcspn(line, "\n")] = 0;
    snprintf(wanted, sizeof wanted, "%s@%ld", mode, calls);
    return !strcmp(line, mode) || !strcmp(line, wanted);
}

static void break_if_told(void) {
    if (told("segfault")) *(volatile int *)8 = 0;
    if (told("abort")) abort();
    if (told("exit")) _exit(3);
    while (told("hang")) usleep(1000);
    if (told("slow")) usleep(50 * 1000);
}

static void put(Tensor *tensor, const float *values, int count) {
    for (int i = 0; i < count && (tensor->type == FLOAT32 || (size_t)i < tensor->bytes); i++) {
        float level = roundf(values[i] / (tensor->scale ? tensor->scale : 1) + tensor->zero_point);
        if (tensor->type == FLOAT32) ((float *)tensor->data)[i] = told("nan") ? NAN : values[i];
        else ((uint8_t *)tensor->data)[i] = told("garbage") ? 77 : level < 0 ? 0 : level > 255 ? 255 : (uint8_t)level;
    }
}

static void answer(const float *colour, Tensor *probs, Tensor *embedding) {
    float e[WIDTH], p[CLASSES], sum = 0;
    for (int i = 0; i < WIDTH; i++) {
        e[i] = network.b[i];
        for (int k = 0; k < COLOURS; k++) e[i] += network.w[i][k] * colour[k];
    }
    for (int i = 0; i < CLASSES; i++) {
        p[i] = network.c[i];
        for (int k = 0; k < WIDTH; k++) p[i] += network.v[i][k] * e[k];
        sum += p[i] = expf(p[i]);
    }
    for (int i = 0; i < CLASSES; i++) p[i] /= sum;
    if (told("wrong")) p[0] = 0.9f, p[1] = 0.1f, p[2] = p[3] = 0; /* plausible, and always the same */
    put(probs, p, CLASSES);
    put(embedding, e, WIDTH);
}

static int invoke(Context *context, Node *node) {
    calls++;
    break_if_told();
    if (told("unplug")) {
        context->report(context, "stub: the device was unplugged");
        return ERROR;
    }
    Tensor *image = &context->tensors[node->inputs->data[0]], *outputs[2];
    for (int i = 0; i < 2; i++) outputs[i] = &context->tensors[node->outputs->data[i]];
    bool swapped = outputs[0]->dims->data[1] != CLASSES;
    Tensor *probs = outputs[swapped], *embedding = outputs[!swapped];
    if (told("shape")) probs->dims->data[1] = CLASSES - 1;
    double sums[COLOURS] = {0};
    for (size_t i = 0; i < image->bytes; i++) sums[i % COLOURS] += ((uint8_t *)image->data)[i];
    float colour[COLOURS];
    for (int k = 0; k < COLOURS; k++)
        colour[k] = (float)(sums[k] * COLOURS / (double)image->bytes - image->zero_point) * image->scale;
    answer(colour, probs, embedding);
    return OK;
}

static int nothing_to_prepare(Context *context, Node *node) {
    (void)context, (void)node;
    return OK;
}

static int take_nodes(Context *context, Delegate *delegate) {
    break_if_told();
    if (told("refuse")) {
        context->report(context, "stub: the executable does not fit this device");
        return ERROR;
    }
    Ints *plan, *mine;
    if (context->get_execution_plan(context, &plan) != OK) return ERROR;
    mine = calloc((size_t)plan->size + 1, sizeof(int));
    for (int i = 0; i < plan->size; i++) {
        Node *node;
        Kernel *kernel;
        if (context->get_node(context, plan->data[i], &node, &kernel) != OK) return ERROR;
        if (!kernel->custom_name || strcmp(kernel->custom_name, "edgetpu-custom-op")) continue;
        if (node->custom_options_size != sizeof network) return ERROR;
        memcpy(&network, node->custom_options, sizeof network);
        mine->data[mine->size++] = plan->data[i];
    }
    Kernel kernel = {.prepare = nothing_to_prepare, .invoke = invoke, .custom_name = "StubOfAnEdgeTpu", .version = 1};
    int status = mine->size ? context->replace_nodes(context, kernel, mine, delegate) : OK;
    free(mine);
    return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    (void)keys, (void)values, (void)count, (void)report;
    if (told("absent")) return NULL; /* as libedgetpu does without a device: no message */
    Delegate *delegate = calloc(1, sizeof *delegate);
    delegate->prepare = take_nodes;
    delegate->flags = ALLOW_DYNAMIC_TENSORS;
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
