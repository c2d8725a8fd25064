/** For the tests of this package and of others. */
export * from './edge.ts';
export * from './generate.ts';
export * from './generate-nat.ts';
export * from './generate-security.ts';
export * from './leaving.ts';
export * from './networks.ts';
export { TestState, uuidBytes } from './state.ts';
export { Workbench } from './workbench.ts';
export { uuid, World } from './world.ts';
