import { OperatingError } from '@robustmq/core';

/** Kafka's limit, so that names fit into its clients. */
const nameLengthMax = 249;
const legal = /^[A-Za-z0-9._-]+$/;

/** Throws INVALID_ARGUMENT unless `name` is a legal Kafka topic name. Internal names are not. */
export function checkTopicName(name: string): void {
  const problem = problemOf(name);
  if (problem !== undefined) throw new OperatingError('INVALID_ARGUMENT', problem);
}

/** Names that no client can spell: they begin with `$`. */
export function isInternal(name: string): boolean {
  return name.startsWith('$');
}

/** The topic that holds the logs of a kind of coordinators. Throws INVALID_ARGUMENT for a bad kind. */
export function internalTopicOf(kind: string): string {
  if (kind.length >= nameLengthMax || !/^[a-z0-9-]+$/.test(kind)) {
    const message = `coordinator kind ${JSON.stringify(kind)} is not made of a-z, 0-9 and -`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  return `$${kind}`;
}

function problemOf(name: string): string | undefined {
  if (name === '') return 'a topic name is not empty';
  if (isInternal(name)) return `topic name ${JSON.stringify(name)}: names with $ are internal`;
  if (name === '.' || name === '..') return `topic name ${JSON.stringify(name)} is not allowed`;
  if (name.length > nameLengthMax) {
    return `a topic name has at most ${nameLengthMax} characters, not ${name.length}`;
  }
  if (!legal.test(name)) {
    return `topic name ${JSON.stringify(name)}: only letters, digits, ".", "_" and "-" are allowed`;
  }
  return undefined;
}
