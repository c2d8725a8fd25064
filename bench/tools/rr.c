/*
 * Request and response over one TCP stream, one byte each way, one outstanding: the classic latency-bound transaction test.
 *   rr server --address A --port P [--cpu C]                    serves one client, then ends
 *   rr client --address A --port P --ms N [--cpu C]             prints {"transactions","seconds","rate","p50_ns","p99_ns"}
 */
#include "common.h"
#include <netinet/tcp.h>

static void no_delay(int fd) {
  int one = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) die("TCP_NODELAY");
}

static int server(int argc, char **argv) {
  struct sockaddr_storage address;
  socklen_t length = parse_address(option(argc, argv, "--address", NULL), (int)number(argc, argv, "--port", NULL), &address);
  int fd = socket(address.ss_family, SOCK_STREAM, 0), one = 1;
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, length) != 0) die("bind");
  if (listen(fd, 1) != 0) die("listen");
  printf("listening\n");
  fflush(stdout);
  int client = accept(fd, NULL, NULL);
  if (client < 0) die("accept");
  no_delay(client);
  char byte;
  while (read(client, &byte, 1) == 1)
    if (write(client, &byte, 1) != 1) break;
  return 0;
}

static int client(int argc, char **argv) {
  struct sockaddr_storage address;
  socklen_t length = parse_address(option(argc, argv, "--address", NULL), (int)number(argc, argv, "--port", NULL), &address);
  uint64_t duration = (uint64_t)number(argc, argv, "--ms", NULL) * 1000000ull;
  int fd = socket(address.ss_family, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  struct timeval limit = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&address, length) != 0) die("connect");
  no_delay(fd);

  size_t capacity = 1 << 16, count = 0;
  uint64_t *samples = malloc(capacity * sizeof *samples);
  if (!samples) die("malloc");
  char byte = 'w';
  for (int i = 0; i < 200; i++) /* caches, congestion window, flows */
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) die("warm-up");
  uint64_t start = now_ns(), before = start;
  while (before - start < duration) {
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) die("transaction");
    uint64_t after = now_ns();
    if (count == capacity) {
      capacity *= 2;
      samples = realloc(samples, capacity * sizeof *samples);
      if (!samples) die("realloc");
    }
    samples[count++] = after - before;
    before = after;
  }
  double seconds = (double)(before - start) / 1e9;
  qsort(samples, count, sizeof *samples, compare_u64);
  printf("{\"transactions\":%zu,\"seconds\":%.6f,\"rate\":%.1f,\"p50_ns\":%llu,\"p99_ns\":%llu}\n", count, seconds,
         (double)count / seconds, (unsigned long long)samples[count / 2], (unsigned long long)samples[count * 99 / 100]);
  return 0;
}

int main(int argc, char **argv) {
  pin_to(number(argc, argv, "--cpu", "-1"));
  if (argc > 1 && strcmp(argv[1], "server") == 0) return server(argc, argv);
  if (argc > 1 && strcmp(argv[1], "client") == 0) return client(argc, argv);
  fprintf(stderr, "usage: rr server|client --address A --port P …\n");
  return 2;
}
