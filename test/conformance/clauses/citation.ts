/** What a text cites in square brackets: `[MQTT5-3.1.4-3, -4, -3.2.0-1..-2]` stands for five ids. */
export interface Citations {
  readonly ids: readonly string[];
  /** Parts that are neither an id nor a section. */
  readonly unreadable: readonly string[];
}

const bracket = /\[(MQTT5?[- ][^\]]*)\]/g;
const section = String.raw`\d+(?:\.\d+)+`;
/** `MQTT5-3.1.4-3..-6`; without a number a section, which is no statement. */
const whole = new RegExp(`^(MQTT5?)[- ](${section})(?:-(\\d+)(?:\\.\\.-(\\d+))?)?$`);
/** `-3.1.4-5` or `-5`, of the specification and the section that stand before it. */
const short = new RegExp(`^-(?:(${section})-)?(\\d+)(?:\\.\\.-(\\d+))?$`);
const words = /^MQTT5? section [\d.]+$/;

/** The statements that a text cites. */
export function citationsIn(text: string): Citations {
  const ids: string[] = [];
  const unreadable: string[] = [];
  for (const [, cited = ''] of text.matchAll(bracket)) readBracket(cited, ids, unreadable);
  return { ids, unreadable };
}

function readBracket(cited: string, ids: string[], unreadable: string[]): void {
  let specification = '';
  let at = '';
  for (const part of cited.split(/, ?/)) {
    const full = whole.exec(part);
    const rest = full === null ? short.exec(part) : null;
    if (full !== null) {
      [, specification = '', at = ''] = full;
      addRange(ids, `${specification}-${at}`, full[3], full[4]);
    } else if (rest !== null && specification !== '') {
      at = rest[1] ?? at;
      addRange(ids, `${specification}-${at}`, rest[2], rest[3]);
    } else if (!words.test(part)) {
      unreadable.push(part);
    }
  }
}

function addRange(
  ids: string[],
  prefix: string,
  from: string | undefined,
  to: string | undefined,
): void {
  if (from === undefined) return;
  for (let number = Number(from); number <= Number(to ?? from); number++) {
    ids.push(`${prefix}-${number}`);
  }
}
