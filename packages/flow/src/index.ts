export * from './action.ts';
export * from './build-action.ts';
export * from './extract.ts';
export * from './key.ts';
export * from './layout.ts';
export * from './mask.ts';
export * from './print.ts';
export * from './tag.ts';
