/** Readiness of descriptors that Node does not know (netlink, packet sockets, eventfd) on a thread with an event loop. */
import koffi from 'koffi';

/** A watch made by {@link pollReadable}. */
export type PollWatch = {
  /** Stops watching; do it before closing the descriptor. Idempotent. */
  close(): void;
};

/**
 * Calls `onReadable` in the event loop while `fd` is readable (level-triggered: read until empty), or has an error.
 * Does not keep the process alive unless `keepAlive`. For a thread that only handles packets use `Epoll` instead.
 */
export function pollReadable(fd: number, onReadable: () => void, keepAlive = false): PollWatch {
  // koffi's types promise one argument, its code passes (status, events): neither is needed for a readable watch.
  const handle = koffi.node.poll(fd, { readable: true }, () => onReadable());
  if (!keepAlive) handle.unref();
  let open = true;
  return {
    close() {
      if (!open) return;
      open = false;
      handle.close();
    },
  };
}
