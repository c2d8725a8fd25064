/** What a kind of check is. Each kind is one file beside this one and a line in `index.ts`. */
import { canonicalIp } from '@weft/topology';
import { LabError } from '../errors.ts';
import type { Fault } from '../faults/fault.ts';
import type { Lab } from '../lab.ts';
import type { HostPlan, LabPlan, Place, VmPlan } from '../plan.ts';
import { familyOf } from '../plan.ts';
import type { ExternalPlan } from '../plan-externals.ts';
import type { RestClient } from '../rest.ts';
import type { Fields, Reader } from '../scenario/reader.ts';
import { allVms, type Scenario } from '../scenario/types.ts';

/** What a check found. */
export interface Outcome {
  readonly ok: boolean;
  readonly expected: string;
  readonly seen: string;
  /** Why the check says nothing in this lab (then neither passed nor failed). */
  readonly skipped?: string;
}

/** What a running check may use. */
export class CheckContext {
  readonly lab: Lab;
  readonly checkName: string;

  constructor(lab: Lab, checkName: string) {
    this.lab = lab;
    this.checkName = checkName;
  }

  get plan(): LabPlan {
    return this.lab.plan;
  }

  get api(): RestClient {
    return this.lab.api;
  }

  /** VM of the scenario; its name was checked when the scenario was read. */
  vm(name: string): VmPlan {
    const vm = this.plan.vms.find((candidate) => candidate.name === name);
    if (!vm) throw new LabError('WEFT_LAB_UNKNOWN_VM', `the lab has no VM "${name}"`);
    return vm;
  }

  external(name: string): ExternalPlan {
    const external = this.plan.externals.find((candidate) => candidate.name === name);
    if (!external) throw new LabError('WEFT_LAB_UNKNOWN_VM', `the lab has no outside network "${name}"`);
    return external;
  }

  /** A VM, or an outside network. */
  place(name: string): Place {
    return this.plan.externals.find((candidate) => candidate.name === name) ?? this.vm(name);
  }

  hostOf(vm: VmPlan): HostPlan {
    return this.plan.hosts.find((host) => host.name === vm.host)!;
  }

  /** First address of a VM or outside network of that IP version. */
  address(place: Place, family: 4 | 6): string {
    const address = place.addresses.find((text) => familyOf(text) === family);
    if (address === undefined) {
      throw new LabError('WEFT_SCENARIO', `check ${this.checkName}: "${place.name}" has no IPv${family} address`);
    }
    return address;
  }
}

/** Reads the fields of a check, which may name VMs and outside networks of the scenario. */
export class CheckFields<K extends string> {
  readonly #fields: Fields<K>;
  readonly #scenario: Scenario;

  constructor(fields: Fields<K>, scenario: Scenario) {
    this.#fields = fields;
    this.#scenario = scenario;
  }

  vm(name: K): string {
    return this.#readVm(this.#fields.get(name));
  }

  optionalVm(name: K): string | undefined {
    return this.#fields.optional(name, (reader) => this.#readVm(reader));
  }

  external(name: K): string {
    const reader = this.#fields.get(name);
    const text = reader.string();
    if (!this.#isExternal(text)) reader.fail(`"${text}" is not an outside network of the scenario`);
    return text;
  }

  optionalExternal(name: K): string | undefined {
    return this.#fields.optional(name, () => this.external(name));
  }

  /** A VM, or an outside network. */
  place(name: K): string {
    const reader = this.#fields.get(name);
    return this.#isExternal(reader.string()) ? reader.string() : this.#readVm(reader);
  }

  vms(name: K): string[] {
    return this.#fields
      .get(name)
      .list()
      .map((reader) => this.#readVm(reader));
  }

  places(name: K): string[] {
    const read = (reader: Reader) => (this.#isExternal(reader.string()) ? reader.string() : this.#readVm(reader));
    return this.#fields.get(name).list().map(read);
  }

  ip(name: K): string {
    return this.optionalIp(name) ?? this.#fields.get(name).fail('must be an IP address');
  }

  optionalIp(name: K): string | undefined {
    return this.#fields.optional(name, (reader) => reader.canonical(canonicalIp, 'must be an IP address'));
  }

  /** IP version; 4 when absent. */
  family(name: K): 4 | 6 {
    return this.#fields.optional(name, (reader) => reader.integer(4, 6), 4) === 6 ? 6 : 4;
  }

  integer(name: K, minimum: number, maximum: number, fallback: number): number {
    return this.#fields.optional(name, (reader) => reader.integer(minimum, maximum), fallback);
  }

  optionalInteger(name: K, minimum: number, maximum: number): number | undefined {
    return this.#fields.optional(name, (reader) => reader.integer(minimum, maximum));
  }

  boolean(name: K, fallback: boolean): boolean {
    return this.#fields.optional(name, (reader) => reader.boolean(), fallback);
  }

  oneOf<const T extends string>(name: K, choices: readonly T[]): T {
    return this.#fields.get(name).oneOf(choices);
  }

  optionalOneOf<const T extends string>(name: K, choices: readonly T[]): T | undefined {
    return this.#fields.optional(name, (reader) => reader.oneOf(choices));
  }

  ips(name: K): string[] {
    return this.#fields
      .get(name)
      .list()
      .map((item) => item.canonical(canonicalIp, 'must be an IP address'));
  }

  #isExternal(name: string): boolean {
    return this.#scenario.externals.some((external) => external.name === name);
  }

  #readVm(reader: Reader): string {
    const name = reader.string();
    if (!allVms(this.#scenario).some((vm) => vm.name === name)) reader.fail(`"${name}" is not a VM of the scenario`);
    return name;
  }
}

export interface CheckKind<F = unknown, K extends string = string> {
  readonly kind: string;
  /** It changes the topology, or reads it. */
  readonly needsApi?: true;
  /** One line for the list of kinds. */
  readonly summary: string;
  /** Names of its fields, besides `name` and `kind`. */
  readonly fields: readonly K[];
  read(fields: CheckFields<K>): F;
  run(context: CheckContext, fields: F): Promise<Outcome>;
  /** The fault that turns this check red and, as far as it can, no other. */
  sabotage(context: CheckContext, fields: F): Promise<Fault> | Fault;
}

/** Gives a kind its types and forgets them, so that kinds can stand in one list. */
export function defineKind<F, const K extends string>(kind: CheckKind<F, K>): CheckKind {
  return kind as unknown as CheckKind;
}
