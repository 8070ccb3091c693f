import { saslprep } from '@mongodb-js/saslprep';

/** A name or password as SCRAM compares it; undefined: it has characters that are not allowed. [RFC 4013] */
export function prepared(text: string): string | undefined {
  try {
    const result = saslprep(text, { allowUnassigned: true });
    return result === '' ? undefined : result;
  } catch (thrown) {
    if (thrown instanceof Error) return undefined;
    throw thrown;
  }
}
