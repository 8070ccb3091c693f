/** One name and what follows it. Names with commas or quotes in them are written as JSON strings. */
const alternativeName = /(\w[\w ]*):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;

export interface AlternativeName {
  /** As `node:tls` writes it: `DNS`, `email`, `URI`, `IP Address`. */
  readonly kind: string;
  readonly name: string;
}

/**
 * The alternative names of a certificate, as `node:tls` writes them: `DNS:device-7, URI:urn:device:7`. What
 * stands within quotes could look like a name of its own, so they are read one after the other, up to the
 * first that is malformed.
 */
export function alternativeNames(text: string): AlternativeName[] {
  const names: AlternativeName[] = [];
  alternativeName.lastIndex = 0;
  while (alternativeName.lastIndex < text.length) {
    const [found, kind = '', name = ''] = alternativeName.exec(text) ?? [];
    if (found === undefined) break;
    names.push({ kind, name: name.startsWith('"') ? (JSON.parse(name) as string) : name });
  }
  return names;
}
