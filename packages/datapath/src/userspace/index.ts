export * from './driver.ts';
export * from './engine.ts';
export * from './flow-table.ts';
