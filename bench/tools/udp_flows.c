/*
 * UDP over IPv4 as many flows, sent at a steady pace from a packet socket and counted where they arrive.
 *   udp_flows send --device D --source-mac M --target-mac M --source A --target A --source-port S --target-port P
 *                  --tuples N --count N --rate N [--stream N] [--answers 1] [--cpu C]
 *     Packet i belongs to 5-tuple i mod N; tuple t has source port S + t mod 50000 and target port P + t / 50000; of its answers
 *     those are target and source port.
 *     Prints {"sent","seconds","late_ns"}: late_ns is the most that a packet was sent after its time.
 *   udp_flows sink --address A --port P --ports N --capacity N [--record FILE] [--cpu C]
 *     Until SIGTERM; prints {"received","unique","duplicates","foreign","overflow"}. With --record also writes, for every
 *     packet, 32 bytes to FILE: sequence number, stream, time sent, time received (u64 each, host order, CLOCK_MONOTONIC ns).
 */
#include "common.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>

#define MAGIC 0x57656674u
#define PORTS_PER_TARGET 50000
#define BATCH 64
#define MAX_PORTS 64

struct payload {
  uint32_t magic, reserved;
  uint64_t sequence, stream, sent_ns;
};
#define FRAME_SIZE (14 + 20 + 8 + sizeof(struct payload))

static void parse_mac(const char *text, uint8_t *out) {
  unsigned m[6];
  if (sscanf(text, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) {
    fprintf(stderr, "%s is no MAC address\n", text);
    exit(2);
  }
  for (int i = 0; i < 6; i++) out[i] = (uint8_t)m[i];
}

static uint32_t sum16(const void *data, size_t length, uint32_t sum) {
  const uint8_t *p = data;
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)(p[i] << 8 | p[i + 1]);
  return sum;
}

static uint16_t fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static int sender(int argc, char **argv) {
  const char *device = option(argc, argv, "--device", NULL);
  uint64_t count = (uint64_t)number(argc, argv, "--count", NULL), rate = (uint64_t)number(argc, argv, "--rate", NULL);
  uint64_t tuples = (uint64_t)number(argc, argv, "--tuples", NULL), stream = (uint64_t)number(argc, argv, "--stream", "0");
  long source_port = number(argc, argv, "--source-port", "10000"), target_port = number(argc, argv, "--target-port", NULL);
  int answers = number(argc, argv, "--answers", "0") != 0;
  if (!rate || !tuples || source_port + PORTS_PER_TARGET > 65536) die("rate, tuples or source port out of range");

  uint8_t frame[FRAME_SIZE] = {0};
  parse_mac(option(argc, argv, "--target-mac", NULL), frame);
  parse_mac(option(argc, argv, "--source-mac", NULL), frame + 6);
  put16(frame + 12, 0x0800);
  uint8_t *ip = frame + 14, *udp = ip + 20;
  ip[0] = 0x45;
  put16(ip + 2, FRAME_SIZE - 14);
  put16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = 17;
  if (inet_pton(AF_INET, option(argc, argv, "--source", NULL), ip + 12) != 1) die("--source");
  if (inet_pton(AF_INET, option(argc, argv, "--target", NULL), ip + 16) != 1) die("--target");
  put16(ip + 10, fold(sum16(ip, 20, 0)));
  put16(udp + 4, 8 + sizeof(struct payload));

  int fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0) die("socket");
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device)};
  if (!address.sll_ifindex || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die(device);

  static uint8_t frames[BATCH][FRAME_SIZE];
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){frames[i], FRAME_SIZE};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  stop_on_signals();
  double interval = 1e9 / (double)rate;
  uint64_t start = now_ns(), late = 0, i = 0;
  while (i < count && !stopped) {
    uint64_t now = now_ns();
    uint64_t due = (uint64_t)((double)(now - start) / interval) + 1;
    if (due > count) due = count;
    if (due <= i) {
      /* Short naps: what is due is sent in small groups, never in bursts of a scheduler tick. */
      uint64_t wake = start + (uint64_t)((double)i * interval);
      sleep_until(wake > now + 50000 ? wake : now + 50000);
      continue;
    }
    uint64_t behind = now - start - (uint64_t)((double)i * interval);
    if (behind > late) late = behind;
    int n = (int)(due - i < BATCH ? due - i : BATCH);
    for (int k = 0; k < n; k++) {
      uint8_t *out = frames[k], *u = out + 34;
      uint64_t tuple = (i + (uint64_t)k) % tuples;
      memcpy(out, frame, FRAME_SIZE);
      put16(answers ? u + 2 : u, (uint32_t)source_port + (uint32_t)(tuple % PORTS_PER_TARGET));
      put16(answers ? u : u + 2, (uint32_t)target_port + (uint32_t)(tuple / PORTS_PER_TARGET));
      struct payload payload = {MAGIC, 0, i + (uint64_t)k, stream, now_ns()};
      memcpy(u + 8, &payload, sizeof payload);
      uint32_t sum = sum16(out + 26, 8, 17 + 8 + sizeof payload); /* pseudo-header */
      uint16_t check = fold(sum16(u, 8 + sizeof payload, sum));
      put16(u + 6, check ? check : 0xffff);
    }
    int done = 0;
    while (done < n) {
      int sent = sendmmsg(fd, messages + done, (unsigned)(n - done), 0);
      if (sent > 0) done += sent;
      else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) die("sendmmsg");
    }
    i += (uint64_t)n;
  }
  printf("{\"sent\":%llu,\"seconds\":%.6f,\"late_ns\":%llu}\n", (unsigned long long)i, (double)(now_ns() - start) / 1e9,
         (unsigned long long)late);
  return 0;
}

struct record {
  uint64_t sequence, stream, sent_ns, received_ns;
};

static int sink(int argc, char **argv) {
  const char *where = option(argc, argv, "--address", NULL), *file = option(argc, argv, "--record", "");
  long port = number(argc, argv, "--port", NULL), ports = number(argc, argv, "--ports", "1");
  uint64_t capacity = (uint64_t)number(argc, argv, "--capacity", NULL);
  if (ports < 1 || ports > MAX_PORTS) die("--ports out of range");
  struct pollfd polled[MAX_PORTS];
  for (long i = 0; i < ports; i++) {
    struct sockaddr_storage address;
    socklen_t length = parse_address(where, (int)(port + i), &address);
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 32 << 20, one = 1;
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) != 0) die("bind");
    polled[i] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  uint8_t *seen = calloc(capacity / 8 + 1, 1);
  struct record *records = *file ? malloc(capacity * sizeof *records) : NULL;
  if (!seen || (*file && !records)) die("malloc");

  static struct payload payloads[BATCH];
  static char controls[BATCH][64];
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  uint64_t received = 0, unique = 0, duplicates = 0, foreign = 0, recorded = 0, overflow[MAX_PORTS] = {0};
  stop_on_signals();
  printf("listening\n");
  fflush(stdout);
  while (!stopped) {
    if (poll(polled, (nfds_t)ports, 200) <= 0) continue;
    uint64_t now = now_ns();
    for (long p = 0; p < ports; p++) {
      if (!polled[p].revents) continue;
      for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){&payloads[i], sizeof payloads[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = controls[i], .msg_controllen = sizeof controls[i]};
      }
      int n = recvmmsg(polled[p].fd, messages, BATCH, MSG_DONTWAIT, NULL);
      for (int i = 0; i < n; i++) {
        struct cmsghdr *control = CMSG_FIRSTHDR(&messages[i].msg_hdr);
        if (control && control->cmsg_type == SO_RXQ_OVFL) {
          uint32_t lost;
          memcpy(&lost, CMSG_DATA(control), sizeof lost);
          overflow[p] = lost;
        }
        struct payload *payload = &payloads[i];
        if (messages[i].msg_len != sizeof *payload || payload->magic != MAGIC || payload->sequence >= capacity) {
          foreign++;
          continue;
        }
        received++;
        if (records && recorded < capacity)
          records[recorded++] = (struct record){payload->sequence, payload->stream, payload->sent_ns, now};
        uint8_t bit = (uint8_t)(1 << (payload->sequence & 7));
        if (seen[payload->sequence >> 3] & bit) duplicates++;
        else unique++;
        seen[payload->sequence >> 3] |= bit;
      }
    }
  }
  if (records) {
    FILE *out = fopen(file, "w");
    if (!out || fwrite(records, sizeof *records, recorded, out) != recorded || fclose(out) != 0) die(file);
  }
  uint64_t lost = 0;
  for (long p = 0; p < ports; p++) lost += overflow[p];
  printf("{\"received\":%llu,\"unique\":%llu,\"duplicates\":%llu,\"foreign\":%llu,\"overflow\":%llu}\n", (unsigned long long)received,
         (unsigned long long)unique, (unsigned long long)duplicates, (unsigned long long)foreign, (unsigned long long)lost);
  return 0;
}

int main(int argc, char **argv) {
  pin_to(number(argc, argv, "--cpu", "-1"));
  if (argc > 1 && strcmp(argv[1], "send") == 0) return sender(argc, argv);
  if (argc > 1 && strcmp(argv[1], "sink") == 0) return sink(argc, argv);
  fprintf(stderr, "usage: udp_flows send|sink …\n");
  return 2;
}
