/*
 * What the first packet of a flow costs: a UDP echo, asked twice from every new source port.
 *   first_packet echo --address A --port P [--cpu C]                      until SIGTERM
 *   first_packet probe --address A --port P --source-port S --flows N --pause-us N [--cpu C]
 *     Prints {"lost":n,"first_ns":[…],"second_ns":[…]}, one element per flow whose both answers came.
 */
#include "common.h"

static int echo(int argc, char **argv) {
  struct sockaddr_storage address, peer;
  socklen_t length = parse_address(option(argc, argv, "--address", NULL), (int)number(argc, argv, "--port", NULL), &address);
  int fd = socket(address.ss_family, SOCK_DGRAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0) die("bind");
  stop_on_signals();
  printf("listening\n");
  fflush(stdout);
  char buffer[64];
  while (!stopped) {
    length = sizeof peer;
    ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &length);
    if (n > 0) sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&peer, length);
  }
  return 0;
}

/* Round trip in ns, or 0 when no answer came within a second. */
static uint64_t ask(int fd, uint32_t sequence) {
  uint32_t answer;
  uint64_t before = now_ns();
  if (send(fd, &sequence, sizeof sequence, 0) != sizeof sequence) return 0;
  do {
    if (recv(fd, &answer, sizeof answer, 0) != sizeof answer) return 0;
  } while (answer != sequence);
  return now_ns() - before;
}

static int probe(int argc, char **argv) {
  struct sockaddr_storage address;
  socklen_t length = parse_address(option(argc, argv, "--address", NULL), (int)number(argc, argv, "--port", NULL), &address);
  long flows = number(argc, argv, "--flows", NULL), source = number(argc, argv, "--source-port", NULL);
  uint64_t pause = (uint64_t)number(argc, argv, "--pause-us", NULL) * 1000;
  if (flows < 1 || source + flows > 65536) die("--flows out of range");
  uint64_t *first = calloc((size_t)flows, sizeof *first), *second = calloc((size_t)flows, sizeof *second);
  if (!first || !second) die("calloc");
  long lost = 0, kept = 0;
  for (long i = 0; i < flows; i++) {
    int fd = socket(address.ss_family, SOCK_DGRAM, 0), one = 1;
    if (fd < 0) die("socket");
    struct timeval limit = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_storage local = {.ss_family = address.ss_family};
    ((struct sockaddr_in *)&local)->sin_port = htons((uint16_t)(source + i)); /* same offset in sockaddr_in6 */
    if (bind(fd, (struct sockaddr *)&local, length) != 0) die("bind");
    if (connect(fd, (struct sockaddr *)&address, length) != 0) die("connect");
    sleep_until(now_ns() + pause);
    uint64_t a = ask(fd, (uint32_t)(2 * i));
    /* The same pause again: both are asked of machines that have gone idle. */
    sleep_until(now_ns() + pause);
    uint64_t b = ask(fd, (uint32_t)(2 * i + 1));
    close(fd);
    if (!a || !b) {
      lost++;
      continue;
    }
    first[kept] = a;
    second[kept++] = b;
  }
  printf("{\"lost\":%ld,\"first_ns\":[", lost);
  for (long i = 0; i < kept; i++) printf("%s%llu", i ? "," : "", (unsigned long long)first[i]);
  printf("],\"second_ns\":[");
  for (long i = 0; i < kept; i++) printf("%s%llu", i ? "," : "", (unsigned long long)second[i]);
  printf("]}\n");
  return 0;
}

int main(int argc, char **argv) {
  pin_to(number(argc, argv, "--cpu", "-1"));
  if (argc > 1 && strcmp(argv[1], "echo") == 0) return echo(argc, argv);
  if (argc > 1 && strcmp(argv[1], "probe") == 0) return probe(argc, argv);
  fprintf(stderr, "usage: first_packet echo|probe …\n");
  return 2;
}
