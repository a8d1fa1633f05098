/* Client and worker on libgearman, as fast as it goes, for benches/client.rs.
 *
 *   throughput worker SERVERS           serves `same` until it is killed
 *   throughput one SERVERS JOBS         jobs one after the other
 *   throughput parallel SERVERS JOBS    jobs as parallel tasks, 1000 at a time
 *
 * A client says `done` when it is done, and waits to be killed: its processor
 * time is read from outside.
 */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT_A_TIME 1000
#define WORKLOAD "a workload of some bytes"

static void must(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static gearman_return_t same(gearman_job_st *job, void *context) {
    (void)context;
    return gearman_job_send_complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

/* Left alone, the library makes a unique of its own for each job, and asks a
 * daemon for it, which is not what is to be measured. */
static const char *unique(long job) {
    static char text[32];
    snprintf(text, sizeof text, "%ld", job);
    return text;
}

static long completed;

static gearman_return_t on_complete(gearman_task_st *task) {
    must(gearman_task_data_size(task) == strlen(WORKLOAD), "a result's size");
    completed++;
    return GEARMAN_SUCCESS;
}

static void parallel(gearman_client_st *client, long jobs) {
    gearman_client_set_complete_fn(client, on_complete);
    /* A finished task is freed at once, and not looked at again. */
    gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
    for (long left = jobs; left > 0; left -= AT_A_TIME) {
        for (long i = 0; i < AT_A_TIME && i < left; i++) {
            gearman_return_t rc;
            gearman_client_add_task(client, NULL, NULL, "same", unique(left - i), WORKLOAD, strlen(WORKLOAD), &rc);
            must(rc == GEARMAN_SUCCESS, "gearman_client_add_task");
        }
        must(gearman_client_run_tasks(client) == GEARMAN_SUCCESS, "gearman_client_run_tasks");
    }
    must(completed == jobs, "the number of results");
}

static void one(gearman_client_st *client, long jobs) {
    for (long i = 0; i < jobs; i++) {
        gearman_return_t rc;
        size_t size;
        void *result = gearman_client_do(client, "same", unique(i), WORKLOAD, strlen(WORKLOAD), &size, &rc);
        must(rc == GEARMAN_SUCCESS && size == strlen(WORKLOAD), "gearman_client_do");
        free(result);
    }
}

int main(int argc, char **argv) {
    must(argc >= 3, "usage: see the top of throughput.c");
    if (!strcmp(argv[1], "worker")) {
        gearman_worker_st *worker = gearman_worker_create(NULL);
        gearman_worker_add_servers(worker, argv[2]);
        gearman_worker_define_function(worker, "same", 4, gearman_function_create(same), 0, NULL);
        for (;;) must(gearman_worker_work(worker) == GEARMAN_SUCCESS, "gearman_worker_work");
    }
    must(argc == 4, "usage: see the top of throughput.c");
    gearman_client_st *client = gearman_client_create(NULL);
    gearman_client_add_servers(client, argv[2]);
    if (!strcmp(argv[1], "one")) one(client, atol(argv[3]));
    else parallel(client, atol(argv[3]));
    puts("done");
    fflush(stdout);
    for (;;) pause();
}
