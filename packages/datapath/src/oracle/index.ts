export * from './checksum.ts';
export * from './decap.ts';
export * from './ecn.ts';
export * from './fragments.ts';
export * from './frame.ts';
export * from './outer.ts';
export * from './rewrite.ts';
export * from './segment.ts';
