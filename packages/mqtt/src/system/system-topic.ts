const systemPrefix = '$SYS/';

/** Whether a topic filter is for what the broker tells of itself. */
export function isSystemFilter(filter: string): boolean {
  return filter.startsWith(systemPrefix);
}

/** A text as one level of a topic name: what cannot stand there is percent-encoded. */
export function levelOf(text: string): string {
  return text.replaceAll(/[/+#%]/g, (character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase();
    return `%${code}`;
  });
}
