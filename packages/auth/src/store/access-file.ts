import { OperatingError } from '@robustmq/core';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';

import { type AccessFileContent, accessFileSchema, memberNames } from './access-file-schema.ts';

type Path = readonly PropertyKey[];

/** A file that was read. */
export interface AccessFile {
  readonly content: AccessFileContent;
  /** As it was written, comments included. */
  readonly document: Document;
}

/**
 * Reads the text of an access file, YAML or JSON. Throws INVALID_ARGUMENT that names the line; nothing
 * of a file that is wrong is used.
 */
export function parseAccessFile(text: string): AccessFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const line = lines.linePos(problem.pos[0]).line;
    throw invalid(line, problem.message.split('\n')[0] ?? problem.code);
  }
  const lineOf = (path: Path): number => lineIn(document, lines, path);
  const parsed = accessFileSchema.safeParse(document.toJS() ?? {});
  if (!parsed.success) throw explained(parsed.error.issues, lineOf);
  const content = parsed.data;
  checkNames(content, lineOf);
  checkChain(content, lineOf);
  return { content, document };
}

function explained(
  issues: readonly z.core.$ZodIssue[],
  lineOf: (path: Path) => number,
): OperatingError {
  const [issue] = issues.map(innermost);
  if (issue === undefined) return invalid(1, 'is not well formed');
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    return invalid(lineOf([...issue.path, key]), `${nameOf([...issue.path, key])} is unknown`);
  }
  return invalid(lineOf(issue.path), `${nameOf(issue.path)}: ${issue.message}`);
}

/** Of what a value could have been, that which it nearly is. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const branches = issue.errors.flatMap((branch) => branch.slice(0, 1).map(innermost));
  const [deepest] = branches.sort((a, b) => depthOf(b) - depthOf(a));
  return deepest === undefined ? issue : { ...deepest, path: [...issue.path, ...deepest.path] };
}

/** One that says what is wrong with the value tells more than one that says it has another type. */
function depthOf(issue: z.core.$ZodIssue): number {
  return issue.path.length * 2 + (issue.code === 'invalid_type' ? 0 : 1);
}

function checkNames({ users }: AccessFileContent, lineOf: (path: Path) => number): void {
  const seen = new Set<string>();
  for (const [at, { name }] of users.entries()) {
    if (seen.has(name)) {
      throw invalid(lineOf(['users', at, 'name']), `user ${JSON.stringify(name)} is there twice`);
    }
    seen.add(name);
  }
}

/** Who is in the chain has to be there, and who is there has to be in the chain. */
function checkChain(content: AccessFileContent, lineOf: (path: Path) => number): void {
  const { chain } = content;
  if (chain === undefined) return;
  const line = lineOf(['chain']);
  if (new Set(chain).size < chain.length) throw invalid(line, 'chain names a member twice');
  for (const name of memberNames) {
    const isThere = name === 'users' ? content.users.length > 0 : content[name] !== undefined;
    if (isThere !== chain.includes(name) && name !== 'users') {
      throw invalid(line, `${name} has to be both in the chain and in the file`);
    }
  }
}

function lineIn(document: Document, lines: LineCounter, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown =
      length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

/** `rules[2].mqtt` */
function nameOf(path: Path): string {
  const name = path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}.${String(part)}`),
    '',
  );
  return name === '' ? 'the file' : name.replace(/^\./, '');
}

function invalid(line: number, what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `line ${line}: ${what}`);
}
