export * from './key.ts';
export * from './mask.ts';
export * from './action.ts';
export * from './tag.ts';
export * from './layout.ts';
export * from './extract.ts';
