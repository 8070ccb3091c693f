/** Whether a text is as a pattern says in which `*` stands for any characters; an empty one matches all. */
export function matcher(pattern: string): (text: string) => boolean {
  if (pattern === '') return () => true;
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return (text) => text === pattern;
  const last = rest.pop() ?? '';
  return (text) => {
    if (!text.startsWith(first)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return text.length >= at + last.length && text.endsWith(last);
  };
}
