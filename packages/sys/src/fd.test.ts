import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boottimeNs, monotonicNs, monotonicUs } from './clock.ts';
import { errnoName } from './errors.ts';
import { close, EPOLLIN, Epoll, EventFd, read } from './fd.ts';
import { pollReadable } from './poll.ts';
import { TimerFd } from './timerfd.ts';

test('errno has names, also those of the kernel alone', () => {
  assert.deepEqual([11, -105, 524, 95, 999].map(errnoName), ['EAGAIN', 'ENOBUFS', 'ENOTSUPP', 'EOPNOTSUPP', 'E999']);
});

test('a failed call names the call, the errno and the descriptor', () => {
  assert.throws(() => read(-1, new Uint8Array(1)), {
    code: 'WEFT_SYS_CALL',
    errnoName: 'EBADF',
    syscall: 'read',
    message: 'read (fd -1): EBADF',
  });
  assert.throws(() => close(-1), { errnoName: 'EBADF' });
});

test('an eventfd adds up, and is empty after it was consumed', () => {
  const event = new EventFd();
  try {
    assert.equal(event.consume(), 0);
    event.signal(2);
    EventFd.signal(event.fd, 3);
    assert.equal(event.consume(), 5);
    assert.equal(event.consume(), 0);
  } finally {
    event.close();
  }
});

test('epoll returns tokens of what is ready, and no more than it has room for', () => {
  const events = [new EventFd(), new EventFd(), new EventFd()];
  const epoll = new Epoll(2);
  try {
    assert.equal(epoll.wait(0), 0);
    events.forEach((e, i) => {
      epoll.add(e.fd, EPOLLIN, 0xfffffff0 + i);
      e.signal();
    });
    assert.equal(epoll.wait(0), 2);
    epoll.remove(events[0]!.fd);
    events[1]!.consume();
    assert.equal(epoll.wait(0), 1);
    assert.deepEqual([epoll.token(0), epoll.events(0)], [0xfffffff2, EPOLLIN]);
    epoll.modify(events[2]!.fd, 0);
    assert.equal(epoll.wait(0), 0);
    assert.throws(() => epoll.add(events[2]!.fd, EPOLLIN), { errnoName: 'EEXIST' });
  } finally {
    epoll.close();
    for (const e of events) e.close();
  }
});

test('a timer wakes epoll and counts its expirations', () => {
  const timer = new TimerFd();
  const epoll = new Epoll();
  try {
    epoll.add(timer.fd, EPOLLIN);
    assert.equal(timer.consume(), 0);
    timer.arm(1);
    assert.equal(epoll.wait(-1), 1);
    assert.equal(timer.consume(), 1);
    timer.arm(60_000);
    timer.arm(0);
    assert.equal(timer.consume(), 0);
  } finally {
    epoll.close();
    timer.close();
  }
});

test('the event loop watches descriptors Node does not know', async () => {
  const event = new EventFd();
  try {
    const value = await new Promise<number>((resolve) => {
      const watch = pollReadable(
        event.fd,
        () => {
          watch.close();
          resolve(event.consume());
        },
        true,
      );
      event.signal(7);
    });
    assert.equal(value, 7);
  } finally {
    event.close();
  }
});

test('clocks never run backwards and agree with each other', () => {
  const a = monotonicNs();
  const us = monotonicUs();
  const b = monotonicNs();
  assert.ok(a <= b);
  // 1 ms of slack for the calibration of monotonicUs on a loaded machine.
  assert.ok(us * 1000 >= a - 1e6 && us * 1000 <= b + 1e6, `${a} ${us * 1000} ${b}`);
  assert.ok(boottimeNs() >= b);
});
