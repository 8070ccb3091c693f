import { isWideMqttText } from './utf8.ts';

const slash = 0x2f;
const plus = 0x2b;
const hash = 0x23;

/** Longest topic name or filter: what its two length bytes can say. [MQTT5-4.7.3-3] */
export const topicBytesMax = 65_535;
/** Default for the levels of a name or filter; more cost time in every trie. */
export const topicLevelsMaxDefault = 128;

const sharePrefix = '$share/';

/** What is wrong with a topic name or filter. `none` is 0, so that a check is one comparison. */
export const TopicProblem = {
  none: 0,
  empty: 1,
  tooLong: 2,
  text: 3,
  nul: 4,
  /** '#' that is not the whole last level, or any wildcard in a name. */
  wildcard: 5,
  /** '+' that is not a whole level. */
  singleLevel: 6,
  levels: 7,
  shareGroup: 8,
  shareFilter: 9,
} as const;

export type TopicProblem = (typeof TopicProblem)[keyof typeof TopicProblem];

const explanations: Record<TopicProblem, string> = {
  [TopicProblem.none]: 'is valid',
  [TopicProblem.empty]: 'is empty',
  [TopicProblem.tooLong]: 'is longer than 65,535 bytes',
  [TopicProblem.text]: 'is not well-formed UTF-8',
  [TopicProblem.nul]: 'contains U+0000',
  [TopicProblem.wildcard]: "has '+' or '#' where none may stand",
  [TopicProblem.singleLevel]: "has a '+' that does not fill its level",
  [TopicProblem.levels]: 'has more levels than this server allows',
  [TopicProblem.shareGroup]: 'has a share group that is empty or has wildcards',
  [TopicProblem.shareFilter]: 'has no filter behind the share group',
};

const clauses: Record<TopicProblem, string> = {
  [TopicProblem.none]: '',
  [TopicProblem.empty]: 'MQTT5-4.7.3-1',
  [TopicProblem.tooLong]: 'MQTT5-4.7.3-3',
  [TopicProblem.text]: 'MQTT5-1.5.4-1',
  [TopicProblem.nul]: 'MQTT5-1.5.4-2',
  [TopicProblem.wildcard]: 'MQTT5-4.7.1-1',
  [TopicProblem.singleLevel]: 'MQTT5-4.7.1-2',
  [TopicProblem.levels]: 'MQTT5-4.7.3',
  [TopicProblem.shareGroup]: 'MQTT5-4.8.2-1',
  [TopicProblem.shareFilter]: 'MQTT5-4.8.2-2',
};

/** The clause that a filter with the problem breaks (and a name, but for wildcards: 3.3.2-2). */
export function clauseOfProblem(problem: TopicProblem): string {
  return clauses[problem];
}

/** The problem as the end of a sentence that begins with "the topic …". */
export function explainTopicProblem(problem: TopicProblem): string {
  return explanations[problem];
}

/** Checks the bytes of a topic name, in one pass while they are ASCII. [MQTT5-4.7.0-1, -4.7.3-1..-3] */
export function topicNameProblem(
  bytes: Buffer,
  start: number,
  end: number,
  levelsMax: number = topicLevelsMaxDefault,
): TopicProblem {
  if (start === end) return TopicProblem.empty;
  if (end - start > topicBytesMax) return TopicProblem.tooLong;
  let levels = 1;
  let wideFrom = -1;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === slash) levels++;
    else if (byte === plus || byte === hash) return TopicProblem.wildcard;
    else if (byte === 0) return TopicProblem.nul;
    else if (byte >= 0x80 && wideFrom < 0) wideFrom = i;
  }
  if (wideFrom >= 0 && !isWideMqttText(bytes, wideFrom, end)) return TopicProblem.text;
  return levels > levelsMax ? TopicProblem.levels : TopicProblem.none;
}

/**
 * Checks the bytes of a topic filter, that of a shared subscription included.
 * [MQTT5-4.7.1-1, -4.7.1-2, -4.7.3-1..-3, -4.8.2-1, -4.8.2-2]
 */
export function topicFilterProblem(
  bytes: Buffer,
  start: number,
  end: number,
  levelsMax: number = topicLevelsMaxDefault,
): TopicProblem {
  if (start === end) return TopicProblem.empty;
  if (end - start > topicBytesMax) return TopicProblem.tooLong;
  let filterStart = start;
  if (hasSharePrefix(bytes, start, end)) {
    const groupStart = start + sharePrefix.length;
    const groupEnd = bytes.indexOf(slash, groupStart);
    filterStart = groupEnd + 1;
    if (groupEnd === groupStart) return TopicProblem.shareGroup;
    if (groupEnd < 0 || filterStart >= end) return TopicProblem.shareFilter;
    if (!isShareGroup(bytes, groupStart, groupEnd)) return TopicProblem.shareGroup;
  }
  if (!isWideMqttText(bytes, start, end)) return TopicProblem.text;
  return wildcardProblem(bytes, filterStart, end, levelsMax);
}

/** A wildcard fills a whole level, and '#' is the last one. */
function wildcardProblem(
  bytes: Buffer,
  start: number,
  end: number,
  levelsMax: number,
): TopicProblem {
  let levels = 1;
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte === slash) levels++;
    if (byte !== plus && byte !== hash) continue;
    const alone = i === start || bytes[i - 1] === slash;
    const last = i + 1 === end;
    if (byte === hash && !(alone && last)) return TopicProblem.wildcard;
    if (byte === plus && !(alone && (last || bytes[i + 1] === slash))) {
      return TopicProblem.singleLevel;
    }
  }
  return levels > levelsMax ? TopicProblem.levels : TopicProblem.none;
}

/** Whether the bytes begin with `$share/`; the group may still be wrong. */
export function hasSharePrefix(bytes: Buffer, start: number, end: number): boolean {
  if (end - start < sharePrefix.length) return false;
  for (let i = 0; i < sharePrefix.length; i++) {
    if (bytes[start + i] !== sharePrefix.charCodeAt(i)) return false;
  }
  return true;
}

function isShareGroup(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (bytes[i] === plus || bytes[i] === hash) return false;
  }
  return true;
}

/** A shared subscription's two parts. */
export interface SharedFilter {
  readonly group: string;
  /** What is matched against topic names. */
  readonly filter: string;
}

/** The parts of `$share/{group}/{filter}`; undefined when it is no shared subscription. Expects a valid filter. */
export function parseSharedFilter(filter: string): SharedFilter | undefined {
  if (!filter.startsWith(sharePrefix)) return undefined;
  const groupEnd = filter.indexOf('/', sharePrefix.length);
  if (groupEnd < 0) return undefined;
  return { group: filter.slice(sharePrefix.length, groupEnd), filter: filter.slice(groupEnd + 1) };
}

/** What of a valid filter is matched against names: without `$share/{group}/`. */
export function matchedFilter(filter: string): string {
  return parseSharedFilter(filter)?.filter ?? filter;
}

/** Whether a valid filter has a wildcard; without one it matches only the name that it spells. */
export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.endsWith('#');
}

/**
 * Whether `filter` matches the topic `name`, level by level as the specification puts it: the
 * reference that the trie is tested against. Both valid; no `$share`. [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1]
 */
export function topicMatches(filter: string, name: string): boolean {
  if (name.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false;
  const wanted = filter.split('/');
  const levels = name.split('/');
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    const actual = levels[i];
    if (actual === undefined || (level !== '+' && level !== actual)) return false;
  }
  return wanted.length === levels.length;
}

/** Whether there may be a topic name that both filters match; of a shared one the filter counts. Both valid. */
export function filtersOverlap(one: string, other: string): boolean {
  const left = (parseSharedFilter(one)?.filter ?? one).split('/');
  const right = (parseSharedFilter(other)?.filter ?? other).split('/');
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const a = left[at];
    const b = right[at];
    if (a === '#' || b === '#') return at > 0 || !(a?.startsWith('$') || b?.startsWith('$'));
    if (a === undefined || b === undefined) return false;
    if (a === b) continue;
    if (a !== '+' && b !== '+') return false;
    if (at === 0 && (a.startsWith('$') || b.startsWith('$'))) return false;
  }
  return true;
}
