export * from './errors.ts';
export * from './fd.ts';
export * from './libc.ts';
export * from './memory.ts';
export * from './netlink.ts';
export * from './netlink-message.ts';
export * from './packet-batch.ts';
export * from './socket.ts';
