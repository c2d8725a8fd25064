export * from './contract.ts';
export { newSimulation } from './simulate/simulation.ts';
export { Simulator } from './simulate/simulator.ts';
export * from './simulate/steps.ts';
export { TextRecorder } from './simulate/text-recorder.ts';
export { VirtualTopology } from './view/topology.ts';
