export * from './contract.ts';
export * from './errors.ts';
export { UserspaceDatapath } from './userspace/index.ts';
