import { z } from 'zod';

import { addressProblem } from '../guard/address-set.ts';
import type { Ban } from '../guard/ban.ts';
import { parsePasswordHash } from '../password/password-hash.ts';
import {
  type AccessRule,
  type NamedResource,
  namedResources,
  type Operation,
  operations,
  type ResourcePattern,
} from '../rules/access-rule.ts';
import { placeholderProblem } from '../rules/placeholder.ts';
import { filterProblem } from '../rules/topic-pattern.ts';
import { parseScramKeys, type ScramMechanism, scramMechanisms } from '../scram/scram-keys.ts';
import type { User } from './user.ts';

const text = z.string().min(1);
const positive = z.number().int().positive();

/** A text for which `problem` says nothing. */
function checked(problem: (value: string) => string | undefined): z.ZodType<string> {
  return text.superRefine((value, context) => {
    const found = problem(value);
    if (found !== undefined) context.addIssue({ code: 'custom', message: found });
  });
}

/** A text that `parse` takes without throwing. */
function parsedBy(parse: (value: string) => unknown): z.ZodType<string> {
  return checked((value) => {
    try {
      parse(value);
      return undefined;
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : String(thrown);
    }
  });
}

/** One, or a list of them. */
function some<Value>(one: z.ZodType<Value>): z.ZodType<readonly Value[]> {
  return z.union([z.array(one).min(1), one.transform((value) => [value])]);
}

const scramKeys = (mechanism: ScramMechanism): z.ZodType<string> =>
  parsedBy((value) => parseScramKeys(mechanism, value));

const user = z
  .strictObject({
    name: text,
    password: parsedBy(parsePasswordHash).optional(),
    'scram-sha-256': scramKeys('SCRAM-SHA-256').optional(),
    'scram-sha-512': scramKeys('SCRAM-SHA-512').optional(),
    origin: text.optional(),
    groups: z.array(text).default([]),
    superuser: z.boolean().default(false),
  })
  .transform(({ name, groups, superuser, ...own }): User => ({
    name,
    groups,
    superuser,
    credentials: {
      password: own.password,
      scramSha256: own['scram-sha-256'],
      scramSha512: own['scram-sha-512'],
      origin: own.origin,
    },
  }));

const operation = z.enum(operations);
const doing = z.union([
  z.literal('all').transform((): readonly Operation[] => operations),
  some(operation),
]);
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);
const address = checked(addressProblem);
const who = z
  .strictObject({
    user: some(text).optional(),
    'client-id': some(text).optional(),
    group: some(text).optional(),
    address: some(address).optional(),
    anonymous: z.boolean().optional(),
  })
  .transform((own): AccessRule['who'] => ({
    users: own.user,
    clientIds: own['client-id'],
    groups: own.group,
    addresses: own.address,
    anonymous: own.anonymous,
  }));
const filter = checked((value) => {
  const plain = value.replace(/^eq /, '');
  return filterProblem(plain) ?? placeholderProblem(plain);
});
const names = Object.fromEntries(
  namedResources.map((kind) => [kind, some(text).optional()]),
) as Record<NamedResource, z.ZodOptional<z.ZodType<readonly string[]>>>;

const rule = z
  .strictObject({
    allow: doing.optional(),
    deny: doing.optional(),
    who: who.default({
      users: undefined,
      clientIds: undefined,
      groups: undefined,
      addresses: undefined,
      anonymous: undefined,
    }),
    mqtt: some(filter).optional(),
    ...names,
    cluster: z.literal(true).optional(),
    qos: some(qos).optional(),
    retain: z.boolean().optional(),
  })
  .superRefine((own, context) => {
    if ((own.allow === undefined) === (own.deny === undefined)) {
      context.addIssue({ code: 'custom', message: 'either allow or deny has to be given' });
    }
    if (
      own.mqtt === undefined &&
      own.cluster === undefined &&
      !namedResources.some((kind) => own[kind])
    ) {
      const kinds = ['mqtt', ...namedResources, 'cluster'].join(', ');
      context.addIssue({ code: 'custom', message: `what it is about is missing: one of ${kinds}` });
    }
  })
  .transform((own): AccessRule => ({
    effect: own.allow === undefined ? 'deny' : 'allow',
    operations: own.allow ?? own.deny ?? [],
    who: own.who,
    resources: [
      ...(own.mqtt ?? []).map(mqttPattern),
      ...namedResources.flatMap((kind) => (own[kind] ?? []).map((name) => named(kind, name))),
      ...(own.cluster === undefined ? [] : [{ kind: 'cluster' } as const]),
    ],
    qos: own.qos,
    retain: own.retain,
  }));

function mqttPattern(value: string): ResourcePattern {
  const exact = value.startsWith('eq ');
  return { kind: 'mqtt', filter: exact ? value.slice(3) : value, exact };
}

/** `orders-*` is every name that begins with `orders-`. */
function named(kind: NamedResource, name: string): ResourcePattern {
  const prefixed = name.length > 1 && name.endsWith('*');
  return { kind, name: prefixed ? name.slice(0, -1) : name, prefixed };
}

const time = text
  .refine(
    (value) => !Number.isNaN(Date.parse(value)),
    'is no time, for example 2030-01-31T12:00:00Z',
  )
  .transform((value) => Date.parse(value));
const ban = z
  .strictObject({
    user: text.optional(),
    'client-id': text.optional(),
    address: address.optional(),
    until: time.optional(),
    reason: z.string().default('no reason given'),
    by: z.string().default('the access file'),
  })
  .superRefine((own, context) => {
    const given = [own.user, own['client-id'], own.address].filter((one) => one !== undefined);
    if (given.length === 1) return;
    context.addIssue({ code: 'custom', message: 'one of user, client-id and address is wanted' });
  })
  .transform(({ user, address, until: untilMs, reason, by, ...own }): Ban => ({
    kind: user !== undefined ? 'user' : address !== undefined ? 'address' : 'client-id',
    value: user ?? address ?? own['client-id'] ?? '',
    untilMs,
    reason,
    by,
  }));

const token = z
  .strictObject({
    'secret-files': some(text).optional(),
    'key-files': some(text).optional(),
    'jwks-file': text.optional(),
    'jwks-url': z.url({ protocol: /^https?$/ }).optional(),
    from: z.enum(['password', 'username']).optional(),
    issuer: some(text).optional(),
    audience: some(text).optional(),
    claims: z.record(z.string(), z.string()).optional(),
    'user-claim': text.optional(),
    'groups-claim': text.optional(),
    'superuser-claim': text.optional(),
    'acl-claim': text.optional(),
    'expiry-required': z.boolean().optional(),
  })
  .superRefine((own, context) => {
    const sources = [own['secret-files'], own['key-files'], own['jwks-file'], own['jwks-url']];
    if (sources.filter((source) => source !== undefined).length === 1) return;
    const message = 'one of secret-files, key-files, jwks-file and jwks-url is wanted';
    context.addIssue({ code: 'custom', message });
  });

const http = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  headers: z.record(z.string(), z.string()).optional(),
  'timeout-ms': positive.optional(),
  'cache-ms': z.number().int().nonnegative().optional(),
  'at-once-max': positive.optional(),
});

const certificate = z.strictObject({
  name: z.enum(['common-name', 'dns', 'email', 'uri']).default('common-name'),
});

const scram = z.strictObject({
  mechanisms: z.array(z.enum(scramMechanisms)).default([...scramMechanisms]),
  /** The same at every broker. */
  secret: text.min(16, 'has less than 16 characters').optional(),
});

const loginGuard = z.strictObject({
  'window-ms': positive.optional(),
  'user-and-address-max': positive.optional(),
  'address-max': positive.optional(),
  'user-max': positive.optional(),
  'lock-ms': positive.optional(),
});

const flapping = z.strictObject({
  'window-ms': positive.optional(),
  'ends-max': positive.optional(),
  'lock-ms': positive.optional(),
});

/** Members of the chain by the names that `chain` orders. */
export const memberNames = ['certificate', 'token', 'users', 'http'] as const;

const permission = z.enum(['allow', 'deny']);

/** What an access file may hold. */
export const accessFileSchema = z.strictObject({
  anonymous: permission.default('deny'),
  default: permission.default('deny'),
  'client-ids': z.enum(['any', 'user-name']).default('any'),
  users: z.array(user).default([]),
  rules: z.array(rule).default([]),
  bans: z.array(ban).default([]),
  chain: z.array(z.enum(memberNames)).optional(),
  certificate: certificate.optional(),
  token: token.optional(),
  http: http.optional(),
  scram: scram.optional(),
  'login-guard': loginGuard.optional(),
  flapping: flapping.optional(),
});

export type AccessFileContent = z.output<typeof accessFileSchema>;
