/** Reads a JSON object field by field; what is wrong, or not meant, is refused by name. */
import { AgentError } from './errors.ts';

/** Takes fields out of an object one by one; what is left at `done` was not meant. */
export class FieldReader {
  private readonly fields: Record<string, unknown>;
  private readonly where: string;
  private readonly seen = new Set<string>();

  constructor(raw: unknown, where: string) {
    this.where = where;
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) this.fail('must be a JSON object');
    this.fields = raw as Record<string, unknown>;
  }

  private fail(what: string): never {
    throw new AgentError('WEFT_AGENT_CONFIG', `${this.where}: ${what}`);
  }

  private take(name: string): unknown {
    this.seen.add(name);
    return this.fields[name];
  }

  string(name: string, fallback: string, pattern: RegExp, form: string): string {
    const value = this.take(name) ?? fallback;
    if (typeof value !== 'string' || !pattern.test(value)) this.fail(`${name} must be ${form}`);
    return value as string;
  }

  path(name: string, fallback: string): string {
    return this.string(name, fallback, /^\/[^\0]*$/, 'an absolute path');
  }

  choice<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const value = this.take(name) ?? fallback;
    if (!choices.includes(value as T)) this.fail(`${name} must be one of ${choices.join(', ')}`);
    return value as T;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.take(name) ?? fallback;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      this.fail(`${name} must be a whole number from ${min} to ${max}`);
    }
    return value as number;
  }

  /** Whether the field is there. */
  has(name: string): boolean {
    return this.fields[name] !== undefined;
  }

  /** An absolute path; null: there is none. */
  optionalPath(name: string): string | null {
    return this.has(name) ? this.path(name, '') : null;
  }

  /** A list of texts, not empty. */
  strings(name: string): readonly string[] {
    const value = this.take(name);
    if (!Array.isArray(value) || value.length === 0 || !value.every((one) => typeof one === 'string' && one !== '')) {
      this.fail(`${name} must be a list of texts`);
    }
    return value as string[];
  }

  /** An object of texts and numbers. */
  scalars(name: string): Readonly<Record<string, string | number>> {
    const value = this.take(name);
    const isOne = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isOne || !Object.values(value).every((one) => typeof one === 'string' || typeof one === 'number')) {
      this.fail(`${name} must be an object of texts and numbers`);
    }
    return value as Record<string, string | number>;
  }

  /** The fields of an object. */
  nested(name: string): FieldReader {
    return new FieldReader(this.object(name), `${this.where}: ${name}`);
  }

  object(name: string): unknown {
    return this.take(name) ?? {};
  }

  done(): void {
    const unknown = Object.keys(this.fields).filter((name) => !this.seen.has(name));
    if (unknown.length > 0)
      this.fail(`unknown field ${unknown.join(', ')}; see docs/AGENT.md for the fields there are`);
  }
}
