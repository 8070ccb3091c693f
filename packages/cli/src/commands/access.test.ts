import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { parseAccessFile } from '@robustmq/auth';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { entry, runCommand } from '../command.fixture.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robustmq-access-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Runs `robustmq ARGS` with `input` on standard input; what it prints. */
async function withInput(input: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ['pipe', 'pipe', 'ignore'] });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stdin.end(input);
  await new Promise((resolve) => child.once('close', resolve));
  return stdout;
}

describe('robustmq access', () => {
  it('user prints an entry for the access file', async () => {
    const text = await withInput('secret\n', 'access', 'user', 'alice', '--group', 'ops');
    const { users } = parseAccessFile(text).content;
    expect(users).toMatchObject([{ name: 'alice', groups: ['ops'], superuser: false }]);
    expect(users[0]?.credentials.password).toMatch(/^\$scrypt\$ln=14,r=8,p=1\$/);
    expect(users[0]?.credentials.scramSha256).toMatch(/^SCRAM-SHA-256\$15000:/);
    expect(text).not.toContain('secret');
  });

  it('check says what is in a file, or which line is wrong', async () => {
    const right = file('right.yaml', 'rules:\n  - { allow: all, mqtt: a }\n');
    expect(await runCommand(['access', 'check', right])).toMatchObject({
      code: 0,
      stdout: `${right}: 0 users, 1 rules, 0 bans\n`,
    });
    const wrong = file('wrong.yaml', 'rules:\n  - { allow: all, mqtt: a+ }\n');
    const { code, errors } = await runCommand(['access', 'check', wrong]);
    expect(code).toBe(1);
    expect(errors[0]).toContain(`${wrong}: line 2: rules[0].mqtt: '+'`);
  });

  it("import makes an access file of Mosquitto's files", async () => {
    const passwords = file(
      'passwords',
      'alice:$6$FVzAh2XRKeraS07G$XUyYPdf0nq03VDPvaYdEmpiygN82v7ZW8JiCWsp184OD5+2BGInj7J9DGQ+fW4JV4h4EFMiiQllJ6BM4uaj2qg==\n',
    );
    const acl = file('acl', 'user alice\ntopic read a/#\n');
    const { code, stdout } = await runCommand([
      'access',
      'import',
      '--passwords',
      passwords,
      '--acl',
      acl,
    ]);
    expect(code).toBe(0);
    const { content } = parseAccessFile(stdout);
    expect(content).toMatchObject({
      default: 'deny',
      users: [{ name: 'alice' }],
      rules: [{ effect: 'allow', operations: ['subscribe'], who: { users: ['alice'] } }],
    });
    // Mosquitto without an ACL file lets users do everything.
    const alone = await runCommand(['access', 'import', '--passwords', passwords]);
    expect(parseAccessFile(alone.stdout).content.default).toBe('allow');
    expect((await runCommand(['access', 'import'])).errors[0]).toContain('give --passwords');
  });
});
