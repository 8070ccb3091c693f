import { portOf } from '@robustmq/core';
import { isIpNetwork, type ListenerKind, type ListenerLimits } from '@robustmq/mqtt';
import { z } from 'zod';

import { bytes, count, flag, hostPort, wholeNumber } from '../option-row.ts';

/** The largest packet that MQTT can spell. [MQTT5 2.1.4] */
const packetBytesLargest = 268_435_460;
export const packetBytes = bytes.refine(
  (value) => value >= 128 && value <= packetBytesLargest,
  'must be from 128 bytes to 256MiB',
);

/** One value, or several of a parameter that is repeated (in the file: a list). */
const texts = z
  .union([z.string().min(1).array().min(1), z.string().min(1)])
  .transform((given) => (typeof given === 'string' ? [given] : given));

/** What can be said of a listener besides its address, in the query of its URL or in the file. */
const parameterTable = {
  name: z.string().regex(/^[a-z0-9-]{1,32}$/, 'must be 1 to 32 of a-z, 0-9 and -'),
  advertise: z.string().regex(/^\S+$/, 'must be HOST or HOST:PORT'),
  cert: texts,
  key: texts,
  'client-ca': z.string().min(1),
  'require-client-cert': flag,
  identity: z.enum(['cn', 'san', 'none'], 'must be cn, san or none'),
  auth: z.enum(['anonymous', 'certificate'], 'must be anonymous or certificate'),
  'proxy-protocol': texts.refine((networks) => networks.every(isIpNetwork), {
    message: 'must be the network of the proxies, for example 10.0.0.0/8; repeat it for several',
  }),
  path: z.string().regex(/^\/[^?#\s]*$/, 'must begin with / and have no ? or #'),
  origin: texts,
  'max-connections': count,
  'max-connections-per-address': wholeNumber(0),
  'connect-rate': wholeNumber(0),
  'connect-timeout-ms': count,
  'max-packet-size': packetBytes,
  'keep-alive-max': wholeNumber(0, 0xffff),
  'receive-max': wholeNumber(1, 0xffff),
  'topic-alias-max': wholeNumber(0, 0xffff),
  'session-expiry-max': wholeNumber(0, 0xffffffff),
} as const;

const parameterNames = Object.keys(parameterTable);
const parameters = z.strictObject(parameterTable).partial();
type ListenerParameters = z.output<typeof parameters>;

/** Where the files of a TLS listener are. */
export interface ListenerFiles {
  /** The first is shown where the client names no host, or an unknown one. */
  readonly pairs: readonly { readonly cert: string; readonly key: string }[];
  readonly clientCa: string | undefined;
  readonly clientCertificateRequired: boolean;
}

/** One listener as the operator wants it. */
export interface ListenerConfig {
  /** As it could stand in a list. */
  readonly text: string;
  readonly name: string;
  readonly kind: ListenerKind;
  /** HOST:PORT. */
  readonly listen: string;
  readonly advertise: string | undefined;
  readonly files: ListenerFiles | undefined;
  readonly identity: ListenerParameters['identity'];
  readonly authentication: ListenerParameters['auth'];
  readonly proxyNetworks: readonly string[] | undefined;
  readonly path: string | undefined;
  readonly origins: readonly string[] | undefined;
  readonly limits: Partial<ListenerLimits>;
}

/** `--mqtt-listen`: a list in one text, or one of texts and objects in the file; "off" is an empty one. */
export const listenerList = z.unknown().transform((given, context): ListenerConfig[] => {
  try {
    return listeners(given);
  } catch (thrown) {
    if (!(thrown instanceof Mistake)) throw thrown;
    context.addIssue({ code: 'custom', message: thrown.message });
    return z.NEVER;
  }
});

/** What is wrong with what was written, and what to write. */
class Mistake extends Error {}

function listeners(given: unknown): ListenerConfig[] {
  if (given === 'off' || given === false) return [];
  const entries = typeof given === 'string' ? given.split(',') : given;
  if (!Array.isArray(entries) || entries.length === 0) {
    throw new Mistake('must be HOST:PORT, a URL, a list of them, or "off"');
  }
  const names = new Set<string>();
  return entries.map((entry: unknown) => {
    const config = withName(listener(entry), names);
    names.add(config.name);
    return config;
  });
}

/** Without a name it is called after its kind. */
function withName(config: ListenerConfig, taken: ReadonlySet<string>): ListenerConfig {
  if (config.name !== '') {
    if (!taken.has(config.name)) return config;
    throw new Mistake(`${config.text}: another listener is called ${config.name}, too`);
  }
  let name: string = config.kind;
  for (let at = 2; taken.has(name); at++) name = `${config.kind}-${at}`;
  return { ...config, name };
}

interface Address {
  readonly kind: ListenerKind;
  readonly listen: string;
  readonly path: string | undefined;
  readonly query: Readonly<Record<string, string | string[]>>;
}

function listener(entry: unknown): ListenerConfig {
  if (typeof entry === 'string') {
    const address = parseAddress(entry.trim());
    return toConfig(entry.trim(), address, address.query);
  }
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    throw new Mistake(
      `${JSON.stringify(entry)} is no listener: give HOST:PORT, a URL or a mapping`,
    );
  }
  const { url, ...rest } = entry as Record<string, unknown>;
  if (typeof url !== 'string') {
    throw new Mistake('a listener needs url, for example "url: mqtts://0.0.0.0:8883"');
  }
  const address = parseAddress(url);
  return toConfig(url, address, { ...address.query, ...rest });
}

const urlPattern = /^([a-z]+):\/\/([^/?]+)(\/[^?]*)?(?:\?(.*))?$/;
const kinds: readonly string[] = ['mqtt', 'mqtts', 'ws', 'wss'];

function parseAddress(text: string): Address {
  const [whole, kind = '', listen = '', path, query = ''] = urlPattern.exec(text) ?? [];
  if (whole === undefined) return { kind: 'mqtt', listen: checkHost(text), path, query: {} };
  if (!isKind(kind)) {
    throw new Mistake(`${text}: ${kind}:// is unknown; known: ${kinds.join('://, ')}://`);
  }
  return {
    kind,
    listen: checkHost(listen),
    path: path === '/' ? undefined : path,
    query: valuesOf(query),
  };
}

function isKind(text: string): text is ListenerKind {
  return kinds.includes(text);
}

function checkHost(text: string): string {
  const parsed = hostPort.safeParse(text);
  if (parsed.success) return text;
  throw new Mistake(`${text}: ${parsed.error.issues[0]?.message ?? 'must be HOST:PORT'}`);
}

function textOf({ kind, listen, path = '' }: Address, given: object): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    for (const one of [value].flat()) query.append(name, String(one));
  }
  if (kind === 'mqtt' && query.size === 0) return listen;
  return `${kind}://${listen}${path}${query.size === 0 ? '' : `?${query.toString()}`}`;
}

/** The same listener on another port, so many further; port 0 stays. */
export function listenerTextFurther({ text, listen }: ListenerConfig, by: number): string {
  const port = portOf(listen);
  if (port === 0) return text;
  return text.replace(listen, `${listen.slice(0, listen.lastIndexOf(':'))}:${port + by}`);
}

/** Repeated ones as a list. */
function valuesOf(query: string): Record<string, string | string[]> {
  const values: Record<string, string | string[]> = {};
  const search = new URLSearchParams(query);
  for (const name of new Set(search.keys())) {
    const [first = '', ...more] = search.getAll(name);
    values[name] = more.length === 0 ? first : [first, ...more];
  }
  return values;
}

function toConfig(text: string, address: Address, given: object): ListenerConfig {
  const parsed = parameters.safeParse(given);
  if (!parsed.success) throw new Mistake(`${text}: ${parameterMistake(parsed.error, given)}`);
  const { kind, listen } = address;
  const own = parsed.data;
  const path = own.path ?? address.path;
  const wrong = mistakeIn(kind, own, path);
  if (wrong !== undefined) throw new Mistake(`${text}: ${wrong}`);
  return {
    text: textOf(address, given),
    name: own.name ?? '',
    kind,
    listen,
    advertise: own.advertise,
    files: filesOf(own),
    identity: own.identity,
    authentication: own.auth,
    proxyNetworks: own['proxy-protocol'],
    path,
    origins: own.origin,
    limits: limitsOf(own),
  };
}

function parameterMistake(error: z.ZodError, given: object): string {
  const [issue] = error.issues;
  if (issue?.code === 'unrecognized_keys') {
    return `unknown parameter ${issue.keys.join(', ')}; known: ${parameterNames.join(', ')}`;
  }
  const name = String(issue?.path[0] ?? '');
  const value = JSON.stringify((given as Record<string, unknown>)[name]);
  return `${name} ${value}: ${issue?.message ?? 'is not valid'}`;
}

/** What does not go together; undefined when everything does. */
function mistakeIn(
  kind: ListenerKind,
  own: ListenerParameters,
  path: string | undefined,
): string | undefined {
  const isTls = kind === 'mqtts' || kind === 'wss';
  const isWeb = kind === 'ws' || kind === 'wss';
  const { cert = [], key = [], identity, auth } = own;
  const clientCa = own['client-ca'];
  const tellsCertificate = clientCa !== undefined || own['proxy-protocol'] !== undefined;
  if (isTls && cert.length === 0) return 'needs cert=FILE and key=FILE, in PEM';
  if (cert.length !== key.length) return 'needs one key=FILE for each cert=FILE, in the same order';
  if (!isTls && (cert.length > 0 || clientCa !== undefined)) {
    return `has certificates, but ${kind}:// has no TLS: write ${isWeb ? 'wss' : 'mqtts'}://`;
  }
  if (own['require-client-cert'] === true && clientCa === undefined) {
    return 'require-client-cert needs client-ca=FILE, whose certificates are accepted';
  }
  if ((identity !== undefined || auth === 'certificate') && !tellsCertificate) {
    return 'identity and auth=certificate need client-ca=FILE, or a proxy that tells certificates (proxy-protocol)';
  }
  if (identity === 'none' && auth === 'certificate') {
    return 'auth=certificate needs the user name of a certificate: give identity=cn or san';
  }
  if (!isWeb && (path !== undefined || own.origin !== undefined)) {
    return `path and origin are of WebSocket: write ${isTls ? 'wss' : 'ws'}://`;
  }
  return undefined;
}

function filesOf(own: ListenerParameters): ListenerFiles | undefined {
  const { cert = [], key = [] } = own;
  if (cert.length === 0) return undefined;
  return {
    pairs: cert.map((file, at) => ({ cert: file, key: key[at] ?? '' })),
    clientCa: own['client-ca'],
    clientCertificateRequired: own['require-client-cert'] ?? false,
  };
}

/** Which parameter sets which limit. One that is missing does not compile. */
const parameterOf = {
  connectionsMax: 'max-connections',
  connectionsPerAddressMax: 'max-connections-per-address',
  connectsPerSecondMax: 'connect-rate',
  connectTimeoutMs: 'connect-timeout-ms',
  packetBytesMax: 'max-packet-size',
  keepAliveSecondsMax: 'keep-alive-max',
  receiveMaximum: 'receive-max',
  topicAliasMaximum: 'topic-alias-max',
  sessionExpirySecondsMax: 'session-expiry-max',
} as const satisfies Record<keyof ListenerLimits, keyof typeof parameterTable>;

function limitsOf(own: ListenerParameters): Partial<ListenerLimits> {
  const given = Object.entries(parameterOf).flatMap(([limit, name]) => {
    const value = own[name];
    return value === undefined ? [] : [[limit, value] as const];
  });
  return Object.fromEntries(given);
}
