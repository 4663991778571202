// Calls of a function that does nothing through a Gearman server, one after the other, in microseconds:
//   gearman_calls worker PORT          serves it until it is killed
//   gearman_calls client PORT COUNT    prints the median and the 99th percentile
// Needs libgearman-dev; compiled by ../peers.sh.
#include <libgearman-1.0/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static gearman_return_t noop(gearman_job_st *job, void *context) {
  (void)job;
  (void)context;
  return GEARMAN_SUCCESS;
}

static int serve(in_port_t port) {
  gearman_worker_st *worker = gearman_worker_create(NULL);
  gearman_worker_add_server(worker, "127.0.0.1", port);
  gearman_function_t function = gearman_function_create(noop);
  gearman_worker_define_function(worker, "noop", 4, function, 0, NULL);
  while (gearman_worker_work(worker) == GEARMAN_SUCCESS) {
  }
  return 1;
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int call(in_port_t port, size_t count) {
  gearman_client_st *client = gearman_client_create(NULL);
  gearman_client_add_server(client, "127.0.0.1", port);
  double *took = malloc(count * sizeof *took);
  for (size_t i = 0; i < count; ++i) {
    const double start = now_us();
    size_t size = 0;
    gearman_return_t status;
    free(gearman_client_do(client, "noop", NULL, NULL, 0, &size, &status));
    if (status != GEARMAN_SUCCESS) {
      fprintf(stderr, "gearman: %s\n", gearman_client_error(client));
      return 1;
    }
    took[i] = now_us() - start;
  }
  qsort(took, count, sizeof *took, compare);
  printf("%.0f %.0f\n", took[count / 2], took[count * 99 / 100]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "worker") == 0) return serve((in_port_t)atoi(argv[2]));
  if (argc == 4 && strcmp(argv[1], "client") == 0) {
    return call((in_port_t)atoi(argv[2]), strtoul(argv[3], NULL, 10));
  }
  fprintf(stderr, "usage: gearman_calls worker PORT | client PORT COUNT\n");
  return 2;
}
