/** `/accounts`: who may log in. For administrators; no answer carries a password or its hash. */
import type { Nsdb } from '@weft/nsdb';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { baseUri, bodyOf, ROOT } from '../context.ts';
import { ApiError, invalid } from '../errors.ts';
import { answers, BODY_ERRORS, params } from '../openapi.ts';
import {
  changePassword,
  createAccount,
  deleteAccount,
  getAccount,
  listAccounts,
  type ShownAccount,
} from './accounts.ts';

const url = `${ROOT}/accounts`;

const fields = {
  name: Type.String({ description: 'Login name' }),
  role: Type.Enum(['admin', 'tenant', 'viewer']),
  tenantId: Type.Optional(Type.String({ description: 'Tenant that it acts for, or views; absent in a viewer: all' })),
};
const password = Type.String({ minLength: 10, maxLength: 256, writeOnly: true });
const AccountSchema = Type.Object({ ...fields, uri: Type.String() }, { $id: 'Account', description: 'Who may log in' });
const AccountInput = Type.Object({ ...fields, password }, { $id: 'AccountInput' });
const PasswordInput = Type.Object({ password }, { $id: 'PasswordInput' });

export function accountRoutes(app: FastifyInstance, nsdb: Nsdb): void {
  for (const schema of [AccountSchema, AccountInput, PasswordInput]) app.addSchema(schema);
  const tags = ['access'];
  const $ref = 'Account#';
  const show = (request: FastifyRequest, account: ShownAccount) => ({
    ...account,
    uri: `${baseUri(request)}/accounts/${account.name}`,
  });
  const nameOf = (request: FastifyRequest) => (request.params as { name: string }).name;
  // The store guards the objects of tenants; these are nobody's but the administrator's.
  const preHandler = async ({ principal }: FastifyRequest) => {
    if (principal?.role === 'admin') return;
    throw new ApiError(403, 'WEFT_API_FORBIDDEN', 'Accounts are managed by administrators only.');
  };

  const create = {
    tags,
    summary: 'Create an account',
    body: { $ref: 'AccountInput#' },
    response: answers({ 201: { $ref } }, [403, 409, ...BODY_ERRORS]),
  };
  app.post(url, { schema: create, preHandler }, async (request, reply) => {
    const body = bodyOf(request);
    const { name, role, tenantId } = body;
    const account = show(request, await createAccount(nsdb, { name, role, tenantId, password: body.password }));
    return reply.code(201).header('Location', account.uri).send(account);
  });

  const list = {
    tags,
    summary: 'List the accounts',
    response: answers({ 200: { type: 'array', items: { $ref } } }, [403]),
  };
  app.get(url, { schema: list, preHandler }, async (request) =>
    (await listAccounts(nsdb)).map((account) => show(request, account)),
  );

  const item = params('name');
  const get = { tags, summary: 'Get an account', params: item, response: answers({ 200: { $ref } }, [403, 404]) };
  app.get(`${url}/:name`, { schema: get, preHandler }, async (request) =>
    show(request, await getAccount(nsdb, nameOf(request))),
  );

  const done = { 204: { type: 'null', description: 'Done' } };
  const errors = [403, 404, 409, ...BODY_ERRORS];
  const passwd = {
    tags,
    summary: 'Change the password; all tokens of the account become void',
    params: item,
    body: { $ref: 'PasswordInput#' },
    response: answers(done, errors),
  };
  app.put(`${url}/:name/password`, { schema: passwd, preHandler }, async (request, reply) => {
    const body = bodyOf(request);
    if (typeof body.password !== 'string') throw invalid([{ property: 'password', message: 'is required' }]);
    await changePassword(nsdb, nameOf(request), body.password);
    return reply.code(204).send();
  });

  const remove = { tags, summary: 'Delete an account and its tokens', params: item, response: answers(done, errors) };
  app.delete(`${url}/:name`, { schema: remove, preHandler }, async (request, reply) => {
    await deleteAccount(nsdb, nameOf(request));
    return reply.code(204).send();
  });
}
