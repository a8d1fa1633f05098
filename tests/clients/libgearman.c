/* Client and worker on libgearman, for tests/clients.
 *
 *   libgearman do SERVERS FUNCTION       one foreground job: standard input -> standard output
 *   libgearman worker SERVERS NAME       serves the functions below until it is killed
 *   libgearman loop SERVERS FUNCTION N   N foreground jobs, one after the other, each repeated until it succeeds
 *   libgearman client SERVERS FEATURE... tries features of Gearman as a client; see tests/matrix
 *
 * `client` prints one line per feature that works; the first that does not
 * ends the program with a message. JOBS is how many are to be in flight.
 */
#include <libgearman/gearman.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEN_MS 10000
#define PATIENCE 6000 /* times ten milliseconds */

static const char *servers;

static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("not ok: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void must(gearman_return_t rc, const char *what) {
    if (rc != GEARMAN_SUCCESS) fail("%s: %s", what, gearman_strerror(rc));
}

static void hold(int condition, const char *what) {
    if (!condition) fail("%s", what);
}

static void passed(const char *name) {
    printf("ok %s\n", name);
    fflush(stdout);
}

static gearman_client_st *new_client(void) {
    gearman_client_st *client = gearman_client_create(NULL);
    hold(client != NULL, "gearman_client_create");
    must(gearman_client_add_servers(client, servers), "gearman_client_add_servers");
    gearman_client_set_timeout(client, PATIENCE * 10);
    return client;
}

static gearman_worker_st *new_worker(int timeout_ms) {
    gearman_worker_st *worker = gearman_worker_create(NULL);
    hold(worker != NULL, "gearman_worker_create");
    must(gearman_worker_add_servers(worker, servers), "gearman_worker_add_servers");
    gearman_worker_set_timeout(worker, timeout_ms);
    return worker;
}

static void release(const char *path) {
    FILE *file = fopen(path, "w");
    hold(file != NULL, path);
    fclose(file);
}

/* ---- the worker's functions -------------------------------------------- */

static gearman_return_t reverse(gearman_job_st *job, void *context) {
    (void)context;
    const char *workload = gearman_job_workload(job);
    size_t size = gearman_job_workload_size(job);
    char *reversed = malloc(size + 1);
    for (size_t i = 0; i < size; i++) reversed[i] = workload[size - 1 - i];
    gearman_return_t rc = gearman_job_send_data(job, NULL, 0);
    if (gearman_success(rc)) rc = gearman_job_send_complete(job, reversed, size);
    free(reversed);
    return rc == GEARMAN_SUCCESS ? GEARMAN_SUCCESS : GEARMAN_ERROR;
}

/* A result in pieces, with a warning and progress in between. */
static gearman_return_t pieces(gearman_job_st *job, void *context) {
    (void)context;
    gearman_job_send_data(job, "one,", 4);
    gearman_job_send_warning(job, "careful", 7);
    gearman_job_send_status(job, 1, 2);
    gearman_job_send_data(job, "two,", 4);
    gearman_job_send_complete(job, "three", 5);
    return GEARMAN_SUCCESS;
}

static gearman_return_t fails(gearman_job_st *job, void *context) {
    (void)job, (void)context;
    return GEARMAN_FAIL;
}

static gearman_return_t throws(gearman_job_st *job, void *context) {
    (void)context;
    gearman_job_send_exception(job, "broken\0pipe", 11);
    return GEARMAN_SUCCESS;
}

static gearman_return_t unique_of(gearman_job_st *job, void *context) {
    (void)context;
    const char *unique = gearman_job_unique(job);
    gearman_job_send_complete(job, unique, strlen(unique));
    return GEARMAN_SUCCESS;
}

/* Reports 3/7 and runs until the file exists that the workload names. */
static gearman_return_t until_file(gearman_job_st *job, void *context) {
    static int runs;
    char path[4096], result[64];
    (void)context;
    snprintf(path, sizeof path, "%.*s", (int)gearman_job_workload_size(job), (const char *)gearman_job_workload(job));
    gearman_job_send_status(job, 3, 7);
    for (int i = 0; access(path, F_OK) != 0; i++) {
        if (i == PATIENCE) return GEARMAN_FAIL;
        usleep(TEN_MS);
    }
    int length = snprintf(result, sizeof result, "run %d of process %d", ++runs, (int)getpid());
    gearman_job_send_complete(job, result, (size_t)length);
    return GEARMAN_SUCCESS;
}

static void text_of(gearman_job_st *job, char *text, size_t size) {
    snprintf(text, size, "%.*s", (int)gearman_job_workload_size(job), (const char *)gearman_job_workload(job));
}

/* Makes the file that the workload names. */
static gearman_return_t touch(gearman_job_st *job, void *context) {
    (void)context;
    char path[4096];
    text_of(job, path, sizeof path);
    release(path);
    gearman_job_send_complete(job, NULL, 0);
    return GEARMAN_SUCCESS;
}

/* The first run never ends; the server is to take the job back. */
static gearman_return_t guarded(gearman_job_st *job, void *context) {
    (void)context;
    char path[4096];
    text_of(job, path, sizeof path);
    if (access(path, F_OK) != 0) {
        release(path);
        for (;;) pause();
    }
    gearman_job_send_complete(job, "second", 6);
    return GEARMAN_SUCCESS;
}

/* Notes the order of jobs. */
static gearman_return_t record(gearman_job_st *job, void *context) {
    (void)context;
    FILE *file = fopen("recorded", "a");
    fprintf(file, "%.*s\n", (int)gearman_job_workload_size(job), (const char *)gearman_job_workload(job));
    fclose(file);
    gearman_job_send_complete(job, NULL, 0);
    return GEARMAN_SUCCESS;
}

static int withdrawing, forgetting;

static gearman_return_t withdraw(gearman_job_st *job, void *context) {
    (void)context;
    withdrawing = 1;
    gearman_job_send_complete(job, NULL, 0);
    return GEARMAN_SUCCESS;
}

static gearman_return_t forget(gearman_job_st *job, void *context) {
    (void)context;
    forgetting = 1;
    gearman_job_send_complete(job, NULL, 0);
    return GEARMAN_SUCCESS;
}

/* Splits the workload into words; libgearman submits each to the reducer's function. */
static gearman_return_t split_words(gearman_job_st *job, void *context) {
    (void)context;
    const char *from = gearman_job_workload(job), *end = from + gearman_job_workload_size(job);
    while (from < end) {
        const char *space = memchr(from, ' ', (size_t)(end - from));
        const char *stop = space ? space : end;
        if (gearman_failed(gearman_job_send_data(job, from, (size_t)(stop - from)))) return GEARMAN_ERROR;
        from = stop + 1;
    }
    return GEARMAN_SUCCESS;
}

static gearman_return_t join_words(gearman_aggregator_st *aggregator, gearman_task_st *task, gearman_result_st *joined) {
    (void)aggregator;
    char text[256] = "";
    for (; task; task = gearman_next(task)) {
        gearman_result_st *result = gearman_task_result(task);
        strncat(text, gearman_result_value(result), gearman_result_size(result));
        strcat(text, "+");
    }
    return gearman_result_store_value(joined, text, strlen(text));
}

static void define(gearman_worker_st *worker, const char *name, gearman_function_t function) {
    uint32_t timeout_ms = strcmp(name, "guarded") ? 0 : 1000;
    must(gearman_worker_define_function(worker, name, strlen(name), function, timeout_ms, NULL), name);
}

static void serve(const char *name) {
    gearman_worker_st *worker = new_worker(-1);
    must(gearman_worker_set_identifier(worker, name, strlen(name)), "gearman_worker_set_identifier");
    define(worker, "reverse", gearman_function_create(reverse));
    define(worker, "pieces", gearman_function_create(pieces));
    define(worker, "fails", gearman_function_create(fails));
    define(worker, "throws", gearman_function_create(throws));
    define(worker, "unique_of", gearman_function_create(unique_of));
    define(worker, "until_file", gearman_function_create(until_file));
    define(worker, "split_words", gearman_function_create_partition(split_words, join_words));
    define(worker, "touch", gearman_function_create(touch));
    define(worker, "guarded", gearman_function_create(guarded));
    define(worker, "record", gearman_function_create(record));
    define(worker, "temporary", gearman_function_create(reverse));
    define(worker, "withdraw", gearman_function_create(withdraw));
    define(worker, "forget", gearman_function_create(forget));
    for (;;) {
        /* An error means that one server went; the next call connects again. */
        if (gearman_failed(gearman_worker_work(worker))) usleep(TEN_MS);
        if (withdrawing) must(gearman_worker_unregister(worker, "temporary"), "gearman_worker_unregister");
        if (forgetting) must(gearman_worker_unregister_all(worker), "gearman_worker_unregister_all");
        withdrawing = forgetting = 0;
    }
}

/* ---- client: one job, many jobs ------------------------------------------ */

struct bytes {
    char *data;
    size_t size;
};

static struct bytes join(struct bytes all, const void *data, size_t size) {
    all.data = realloc(all.data, all.size + size + 1);
    if (size) memcpy(all.data + all.size, data, size);
    all.size += size;
    return all;
}

/* A foreground job with all of its WORK_DATA in front of the result. */
static gearman_return_t run(gearman_client_st *client, const char *function, const void *workload, size_t size, struct bytes *result) {
    gearman_return_t rc;
    if (size == 0) workload = NULL; /* libgearman refuses an empty workload that has an address */
    *result = join((struct bytes){NULL, 0}, NULL, 0);
    do {
        size_t part;
        void *data = gearman_client_do(client, function, NULL, workload, size, &part, &rc);
        if (data && (rc == GEARMAN_SUCCESS || rc == GEARMAN_WORK_DATA)) *result = join(*result, data, part);
        free(data);
    } while (rc == GEARMAN_WORK_DATA || rc == GEARMAN_WORK_WARNING || rc == GEARMAN_WORK_STATUS);
    return rc;
}

static int do_one(const char *function) {
    struct bytes input = {NULL, 0}, output;
    char chunk[65536];
    size_t size;
    while ((size = fread(chunk, 1, sizeof chunk, stdin)) > 0) input = join(input, chunk, size);
    must(run(new_client(), function, input.data, input.size, &output), "gearman_client_do");
    fwrite(output.data, 1, output.size, stdout);
    return 0;
}

static int loop(const char *function, int count) {
    gearman_client_st *client = NULL;
    for (int i = 1, attempts = 0; i <= count; i++) {
        char workload[32];
        struct bytes output;
        int size = snprintf(workload, sizeof workload, "%d", i);
        for (;;) {
            if (!client) client = new_client();
            /* Connected to two servers, the library now and then polls only the wrong one... */
            gearman_client_set_timeout(client, 2000);
            if (gearman_success(run(client, function, workload, (size_t)size, &output))) break;
            fprintf(stderr, "job %d again: %s\n", i, gearman_client_error(client));
            free(output.data);
            /* ...and a client is of no use after a timeout. */
            gearman_client_free(client);
            client = NULL;
            hold(++attempts < PATIENCE, "jobs fail again and again");
            usleep(TEN_MS);
        }
        printf("%d -> %.*s\n", i, (int)output.size, output.data);
        fflush(stdout);
        free(output.data);
        usleep(TEN_MS);
    }
    gearman_client_free(client);
    return 0;
}

/* ---- the features of a client, each on a connection of its own -------------- */

static void expect(gearman_client_st *client, const char *function, const void *workload, size_t size, const void *wanted, size_t wanted_size) {
    struct bytes output;
    must(run(client, function, workload, size, &output), function);
    if (output.size != wanted_size || memcmp(output.data, wanted, wanted_size)) fail("%s: a wrong result", function);
    free(output.data);
}

static void echo(void) {
    must(gearman_client_echo(new_client(), "a\0b\xff", 4), "gearman_client_echo");
}

static void foreground(void) {
    expect(new_client(), "reverse", "Hello World!", 12, "!dlroW olleH", 12);
}

static void binary(void) {
    char bytes[256], reversed[256];
    for (int i = 0; i < 256; i++) bytes[i] = reversed[255 - i] = (char)i;
    expect(new_client(), "reverse", bytes, 256, reversed, 256);
}

static void empty(void) {
    expect(new_client(), "reverse", "", 0, "", 0);
}

static void large(void) {
    enum { MEGABYTE = 1 << 20 };
    char *bytes = malloc(MEGABYTE), *reversed = malloc(MEGABYTE);
    for (int i = 0; i < MEGABYTE; i++) bytes[i] = reversed[MEGABYTE - 1 - i] = (char)(i * 31 + i / 251);
    expect(new_client(), "reverse", bytes, MEGABYTE, reversed, MEGABYTE);
}

static void unique(void) {
    gearman_return_t rc;
    size_t size;
    char *seen = gearman_client_do(new_client(), "unique_of", "mine", NULL, 0, &size, &rc);
    hold(rc == GEARMAN_SUCCESS && size == 4 && !memcmp(seen, "mine", 4), "the worker sees the unique");
}

static void urgency(void) {
    gearman_return_t rc;
    size_t size;
    char *high = gearman_client_do_high(new_client(), "reverse", NULL, "high", 4, &size, &rc);
    hold(rc == GEARMAN_SUCCESS && size == 4 && !memcmp(high, "hgih", 4), "a high job's result");
    char *low = gearman_client_do_low(new_client(), "reverse", NULL, "low", 3, &size, &rc);
    hold(rc == GEARMAN_SUCCESS && size == 3 && !memcmp(low, "wol", 3), "a low job's result");
}

static void queue(void) {
    char handle[GEARMAN_JOB_HANDLE_SIZE];
    gearman_client_st *client = new_client();
    must(gearman_client_do_low_background(client, "record", NULL, "low 1", 5, handle), "low");
    must(gearman_client_do_background(client, "record", NULL, "normal 1", 8, handle), "normal");
    must(gearman_client_do_high_background(client, "record", NULL, "high 1", 6, handle), "high");
    must(gearman_client_do_low_background(client, "record", NULL, "low 2", 5, handle), "low");
    must(gearman_client_do_background(client, "record", NULL, "normal 2", 8, handle), "normal");
    must(gearman_client_do_high_background(client, "record", NULL, "high 2", 6, handle), "high");
}

struct seen {
    int created, warnings, statuses, exceptions, fails, completes;
    uint32_t numerator, denominator;
    struct bytes data;
};

static gearman_return_t on_created(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->created++;
    return GEARMAN_SUCCESS;
}

static gearman_return_t on_data(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->data = join(seen->data, gearman_task_data(task), gearman_task_data_size(task));
    return GEARMAN_SUCCESS;
}

static gearman_return_t on_warning(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    hold(gearman_task_data_size(task) == 7 && !memcmp(gearman_task_data(task), "careful", 7), "the text of a warning");
    seen->warnings++;
    return GEARMAN_SUCCESS;
}

static gearman_return_t on_status(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->statuses++;
    seen->numerator = gearman_task_numerator(task);
    seen->denominator = gearman_task_denominator(task);
    return GEARMAN_SUCCESS;
}

static gearman_return_t on_complete(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->completes++;
    return on_data(task);
}

static gearman_return_t on_exception(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->exceptions++;
    return on_data(task);
}

static gearman_return_t on_fail(gearman_task_st *task) {
    struct seen *seen = gearman_task_context(task);
    seen->fails++;
    return GEARMAN_SUCCESS;
}

static gearman_client_st *new_watching_client(void) {
    gearman_client_st *client = new_client();
    gearman_client_set_created_fn(client, on_created);
    gearman_client_set_data_fn(client, on_data);
    gearman_client_set_warning_fn(client, on_warning);
    gearman_client_set_status_fn(client, on_status);
    gearman_client_set_complete_fn(client, on_complete);
    gearman_client_set_exception_fn(client, on_exception);
    gearman_client_set_fail_fn(client, on_fail);
    return client;
}

static void add(gearman_client_st *client, struct seen *seen, const char *function, const char *unique, const char *workload) {
    gearman_return_t rc;
    gearman_client_add_task(client, NULL, seen, function, unique, *workload ? workload : NULL, strlen(workload), &rc);
    must(rc, "gearman_client_add_task");
}

static void stream(void) {
    gearman_client_st *client = new_watching_client();
    struct seen seen = {0};
    add(client, &seen, "pieces", NULL, "");
    must(gearman_client_run_tasks(client), "gearman_client_run_tasks");
    hold(seen.created == 1 && seen.warnings == 1 && seen.statuses == 1 && seen.completes == 1, "one of each packet");
    hold(seen.numerator == 1 && seen.denominator == 2, "progress is 1/2");
    hold(seen.data.size == 13 && !memcmp(seen.data.data, "one,two,three", 13), "the pieces arrive in order");
}

static void failure(void) {
    struct bytes output;
    hold(run(new_client(), "fails", "", 0, &output) == GEARMAN_WORK_FAIL, "WORK_FAIL reaches the client");
    struct seen seen = {0};
    gearman_client_st *watching = new_watching_client();
    add(watching, &seen, "fails", NULL, "");
    gearman_client_run_tasks(watching);
    hold(seen.fails == 1 && seen.completes == 0, "the fail callback runs once");
}

static void exception(void) {
    gearman_client_st *client = new_watching_client();
    hold(gearman_client_set_server_option(client, "exceptions", 10), "the option exceptions");
    struct seen seen = {0};
    add(client, &seen, "throws", NULL, "");
    gearman_client_run_tasks(client);
    hold(seen.exceptions == 1 && seen.fails == 0 && seen.completes == 0, "the exception callback runs once");
    hold(seen.data.size == 11 && !memcmp(seen.data.data, "broken\0pipe", 11), "the text of the exception");
}

static void unasked_exception(void) {
    gearman_client_st *client = new_watching_client();
    struct seen seen = {0};
    add(client, &seen, "throws", NULL, "");
    gearman_client_run_tasks(client);
    hold(seen.exceptions == 0 && seen.fails == 1, "without the option an exception is a failure");
}

static void unknown_option(void) {
    hold(!gearman_client_set_server_option(new_client(), "nonsense", 8), "an unknown option is refused");
}

static void add_many(gearman_client_st *client, struct seen *seen, int count) {
    for (int i = 0; i < count; i++) {
        char workload[32];
        gearman_return_t rc;
        int size = snprintf(workload, sizeof workload, "%d", i);
        seen[i] = (struct seen){0};
        gearman_task_st *task = i % 3 == 0 ? gearman_client_add_task(client, NULL, &seen[i], "reverse", NULL, workload, (size_t)size, &rc)
            : i % 3 == 1 ? gearman_client_add_task_high(client, NULL, &seen[i], "reverse", NULL, workload, (size_t)size, &rc)
                         : gearman_client_add_task_low(client, NULL, &seen[i], "reverse", NULL, workload, (size_t)size, &rc);
        hold(task != NULL, "gearman_client_add_task");
        must(rc, "gearman_client_add_task");
    }
}

static void check_many(const struct seen *seen, int count) {
    for (int i = 0; i < count; i++) {
        char workload[32];
        int size = snprintf(workload, sizeof workload, "%d", i);
        if (seen[i].created != 1 || seen[i].completes != 1 || seen[i].data.size != (size_t)size)
            fail("task %d of %d: created %d, completed %d times", i, count, seen[i].created, seen[i].completes);
        for (int at = 0; at < size; at++)
            if (seen[i].data.data[at] != workload[size - 1 - at]) fail("task %d has another's result", i);
        free(seen[i].data.data);
    }
}

static void many(void) {
    int count = atoi(getenv("JOBS"));
    struct seen *seen = calloc((size_t)count, sizeof *seen);
    gearman_client_st *client = new_watching_client();
    add_many(client, seen, count);
    must(gearman_client_run_tasks(client), "gearman_client_run_tasks");
    check_many(seen, count);

    client = new_watching_client();
    gearman_client_add_options(client, GEARMAN_CLIENT_NON_BLOCKING);
    add_many(client, seen, count);
    gearman_return_t rc;
    while (gearman_continue(rc = gearman_client_run_tasks(client)))
        must(gearman_client_wait(client), "gearman_client_wait");
    must(rc, "gearman_client_run_tasks without blocking");
    check_many(seen, count);
}

/* A path in the working directory. */
static char *path_of(const char *name) {
    static char path[4096];
    hold(getcwd(path, sizeof path - 64) != NULL, "getcwd");
    strcat(strcat(path, "/"), name);
    return path;
}

static void background(void) {
    char handle[GEARMAN_JOB_HANDLE_SIZE];
    char *path = path_of("background");
    must(gearman_client_do_background(new_client(), "touch", NULL, path, strlen(path), handle), "gearman_client_do_background");
    hold(!strncmp(handle, "H:", 2), "a handle begins with H:");
    for (int i = 0; access(path, F_OK) != 0; i++) {
        hold(i < PATIENCE, "the job runs");
        usleep(TEN_MS);
    }
}

static void status(void) {
    char handle[GEARMAN_JOB_HANDLE_SIZE];
    bool known = true, running = false;
    uint32_t numerator = 0, denominator = 0;
    char *path = path_of("status");
    gearman_client_st *client = new_client();
    must(gearman_client_do_background(client, "until_file", NULL, path, strlen(path), handle), "gearman_client_do_background");
    for (int i = 0; denominator != 7; i++) {
        must(gearman_client_job_status(client, handle, &known, &running, &numerator, &denominator), "gearman_client_job_status");
        hold(known && i < PATIENCE, "a job that is not done is known, and starts at some time");
        usleep(TEN_MS);
    }
    hold(running && numerator == 3, "it runs, 3/7 done");
    release(path);
    for (int i = 0; known; i++) {
        must(gearman_client_job_status(client, handle, &known, &running, &numerator, &denominator), "gearman_client_job_status");
        hold(i < PATIENCE, "a job that is done is forgotten");
        usleep(TEN_MS);
    }
}

static void status_by_unique(void) {
    char handle[GEARMAN_JOB_HANDLE_SIZE];
    char *path = path_of("status_by_unique");
    must(gearman_client_do_background(new_client(), "until_file", "a unique", path, strlen(path), handle), "gearman_client_do_background");
    for (int i = 0;; i++) {
        /* A client of its own: libgearman's is of no use after this call. */
        gearman_client_st *asking = new_client();
        gearman_status_t found = gearman_client_unique_status(asking, "a unique", 8);
        must(gearman_status_return(found), "gearman_client_unique_status");
        hold(gearman_status_is_known(found) && i < PATIENCE, "known by its unique, and starts at some time");
        gearman_client_free(asking);
        if (gearman_status_denominator(found) == 7) {
            hold(gearman_status_is_running(found) && gearman_status_numerator(found) == 3, "it runs, 3/7 done");
            break;
        }
        usleep(TEN_MS);
    }
    release(path);
    gearman_status_t nobodys = gearman_client_unique_status(new_client(), "nobody's", 8);
    hold(!gearman_status_is_known(nobodys), "an unknown unique is unknown");
}

static void coalescing(void) {
    gearman_client_st *client = new_client();
    char first[GEARMAN_JOB_HANDLE_SIZE], second[GEARMAN_JOB_HANDLE_SIZE], other[GEARMAN_JOB_HANDLE_SIZE];
    must(gearman_client_do_background(client, "queued", "same", "a", 1, first), "first");
    must(gearman_client_do_background(client, "queued", "same", "b", 1, second), "second");
    must(gearman_client_do_background(client, "queued too", "same", "c", 1, other), "another function");
    hold(!strcmp(first, second), "one unique, one job");
    hold(strcmp(first, other), "functions do not share uniques");

    /* Two clients join a job that cannot end before both were answered. */
    char *path = path_of("coalescing");
    gearman_client_st *clients[2];
    struct seen seen[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        clients[i] = new_watching_client();
        gearman_client_add_options(clients[i], GEARMAN_CLIENT_NON_BLOCKING);
        gearman_client_set_timeout(clients[i], 10);
        add(clients[i], &seen[i], "until_file", "shared", path);
    }
    for (int turns = 0, released = 0; seen[0].completes + seen[1].completes < 2; turns++) {
        for (int i = 0; i < 2; i++) {
            gearman_return_t rc = gearman_client_run_tasks(clients[i]);
            hold(rc == GEARMAN_SUCCESS || gearman_continue(rc), "gearman_client_run_tasks without blocking");
            gearman_client_wait(clients[i]);
        }
        if (seen[0].created && seen[1].created && !released++) release(path);
        hold(turns < PATIENCE, "both get a result");
    }
    hold(seen[0].data.size == seen[1].data.size, "both get a result of one length");
    hold(!memcmp(seen[0].data.data, seen[1].data.data, seen[0].data.size), "both get the same result");
}

static void workload_coalescing(void) {
    gearman_client_st *client = new_client();
    char first[GEARMAN_JOB_HANDLE_SIZE], second[GEARMAN_JOB_HANDLE_SIZE], other[GEARMAN_JOB_HANDLE_SIZE];
    must(gearman_client_do_background(client, "queued", "-", "one workload", 12, first), "first");
    must(gearman_client_do_background(client, "queued", "-", "one workload", 12, second), "second");
    must(gearman_client_do_background(client, "queued", "-", "another", 7, other), "another workload");
    hold(!strcmp(first, second), "one workload, one job");
    hold(strcmp(first, other), "another workload, another job");
}

static void client_timeout(void) {
    gearman_client_st *client = new_client();
    struct bytes output;
    gearman_client_set_timeout(client, 200);
    hold(run(client, "served by nobody", "", 0, &output) == GEARMAN_TIMEOUT, "a client need not wait for ever");
}

static void takes_back(void) {
    char *path = path_of("guarded");
    expect(new_client(), "guarded", path, strlen(path), "second", 6);
}

/* A job for in two seconds. */
static void later(const char *name) {
    /* Not time(), which is late by some milliseconds. */
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    time_t due = clock.tv_sec + 2;
    char *path = path_of(name);
    gearman_client_st *client = new_client();
    gearman_task_attr_t attributes = gearman_task_attr_init_epoch(due, GEARMAN_JOB_PRIORITY_NORMAL);
    gearman_argument_t argument = gearman_argument_make(NULL, 0, path, strlen(path));
    gearman_task_st *task = gearman_execute(client, "touch", 5, NULL, 0, &attributes, &argument, NULL);
    hold(task != NULL, "gearman_execute with an epoch");
    must(gearman_task_return(task), "gearman_execute with an epoch");
    for (int i = 0; access(path, F_OK) != 0; i++) {
        hold(i < PATIENCE, "the job comes at last");
        usleep(TEN_MS);
    }
    clock_gettime(CLOCK_REALTIME, &clock);
    hold(clock.tv_sec >= due, "no job before its epoch");
}

static void epoch(void) { later("epoch"); }

static void epoch_by_itself(void) { later("epoch_by_itself"); }

static void reducer(void) {
    gearman_argument_t argument = gearman_argument_make(NULL, 0, "erehwyna krow", 13);
    gearman_task_st *task = gearman_execute_by_partition(new_client(), "split_words", 11, "reverse", 7, NULL, 0, NULL, &argument, NULL);
    hold(task != NULL, "gearman_execute_by_partition");
    must(gearman_task_return(task), "gearman_execute_by_partition");
    gearman_result_st *result = gearman_task_result(task);
    const char *joined = gearman_result_value(result);
    size_t size = gearman_result_size(result);
    /* The library does not promise an order. */
    if (size != 14 || (memcmp(joined, "anywhere+work+", 14) && memcmp(joined, "work+anywhere+", 14)))
        fail("reduce: %.*s", (int)size, joined);
}

static const struct {
    const char *name;
    void (*try)(void);
} features[] = {
    {"queue", queue},
    {"echo", echo},
    {"foreground", foreground},
    {"binary", binary},
    {"empty", empty},
    {"large", large},
    {"stream", stream},
    {"failure", failure},
    {"exception", exception},
    {"unasked_exception", unasked_exception},
    {"unknown_option", unknown_option},
    {"unique", unique},
    {"urgency", urgency},
    {"background", background},
    {"many", many},
    {"coalescing", coalescing},
    {"workload_coalescing", workload_coalescing},
    {"status", status},
    {"status_by_unique", status_by_unique},
    {"client_timeout", client_timeout},
    {"epoch", epoch},
    {"epoch_by_itself", epoch_by_itself},
    {"reducer", reducer},
    {"takes_back", takes_back},
};

static int try_features(int count, char **names) {
    for (int i = 0; i < count; i++) {
        size_t at = 0, all = sizeof features / sizeof *features;
        while (at < all && strcmp(features[at].name, names[i])) at++;
        if (at == all) fail("no feature %s", names[i]);
        features[at].try();
        passed(names[i]);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) fail("usage: see the top of libgearman.c");
    servers = argv[2];
    if (!strcmp(argv[1], "do")) return do_one(argv[3]);
    if (!strcmp(argv[1], "worker")) serve(argv[3]);
    if (!strcmp(argv[1], "loop") && argc == 5) return loop(argv[3], atoi(argv[4]));
    if (!strcmp(argv[1], "client")) return try_features(argc - 3, argv + 3);
    fail("unknown mode %s", argv[1]);
}
