/* What the benchmark tools share: options, time, CPU choice, socket addresses. Plain C, no dependency, built at bench time. */
#ifndef WEFT_BENCH_COMMON_H
#define WEFT_BENCH_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
  exit(1);
}

/* CLOCK_MONOTONIC: the same for all namespaces, and what process.hrtime reads in Node. */
static inline uint64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static inline void sleep_until(uint64_t ns) {
  struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
  }
}

/* `--name value` among the arguments, or the fallback; a NULL fallback makes it required. */
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
  for (int i = 2; i + 1 < argc; i += 2)
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  if (!fallback) {
    fprintf(stderr, "missing %s\n", name);
    exit(2);
  }
  return fallback;
}

static inline long number(int argc, char **argv, const char *name, const char *fallback) {
  const char *text = option(argc, argv, name, fallback);
  char *end;
  long value = strtol(text, &end, 10);
  if (*text == 0 || *end != 0) {
    fprintf(stderr, "%s takes a number, not %s\n", name, text);
    exit(2);
  }
  return value;
}

/* Stays on one CPU; a negative number lets the scheduler choose. */
static inline void pin_to(long cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) die("sched_setaffinity");
}

/* Parses an IPv4 or IPv6 address; returns the length of the socket address. */
static inline socklen_t parse_address(const char *text, int port, struct sockaddr_storage *out) {
  memset(out, 0, sizeof *out);
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return sizeof *v4;
  }
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    return sizeof *v6;
  }
  fprintf(stderr, "%s is no address\n", text);
  exit(2);
}

static inline int compare_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static volatile sig_atomic_t stopped;
static inline void on_stop(int sig) {
  (void)sig;
  stopped = 1;
}
/* SIGTERM and SIGINT end the loops in order, so that the result is still printed. */
static inline void stop_on_signals(void) {
  struct sigaction action = {.sa_handler = on_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
}
#endif
