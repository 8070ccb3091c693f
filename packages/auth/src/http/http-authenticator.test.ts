import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { seededRandom } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import type { Login } from '../principal.ts';
import type { Fetch } from './bounded-fetch.ts';
import { HttpAuthenticator, type HttpAuthenticatorOptions } from './http-authenticator.ts';

type Answer = readonly [status: number, body: unknown];

function login(more: Partial<Login> = {}): Login {
  const certificate = { commonName: 'cn', subjectAltName: '' };
  const peer = { address: '::ffff:10.0.0.1', port: 1, listener: 'tls', certificate };
  return { peer, clientId: 'c1', userName: 'alice', password: Buffer.from('pw'), ...more };
}

/** Answers by a function that the test can replace, and keeps what was asked. */
class Service {
  readonly requests: unknown[] = [];
  answer: () => Answer | Promise<Answer> = () => [200, { result: 'allow' }];

  readonly fetch: Fetch = async (_url, { body, signal }) => {
    this.requests.push(typeof body === 'string' ? JSON.parse(body) : body);
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    });
    const [status, content] = await Promise.race([this.answer(), aborted]);
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    return new Response(status === 204 ? null : text, { status });
  };
}

function member(
  service: Pick<Service, 'fetch'>,
  options: Partial<HttpAuthenticatorOptions> = {},
): HttpAuthenticator {
  const { fetch } = service;
  const url = 'http://auth.example/login';
  const clock = new VirtualClock();
  return new HttpAuthenticator({ url, fetch, clock, random: seededRandom(1), ...options });
}

describe('the HTTP service', () => {
  it('is told who wants to come in, and says who it is', async () => {
    const service = new Service();
    const acl = [{ permission: 'allow', action: 'all', topic: 'a/#' }];
    service.answer = () => [200, { result: 'allow', is_superuser: true, groups: ['ops'], acl }];
    const verdict = await member(service).check(login());
    expect(service.requests).toEqual([
      {
        username: 'alice',
        password: 'pw',
        clientid: 'c1',
        peerhost: '10.0.0.1',
        listener: 'tls',
        cert_common_name: 'cn',
      },
    ]);
    expect(verdict).toMatchObject({
      kind: 'allow',
      identity: {
        userName: 'alice',
        superuser: true,
        groups: ['ops'],
        rules: [{ effect: 'allow' }],
      },
    });
  });

  it.each<[Answer, string]>([
    [[204, ''], 'allow'],
    [[200, { result: 'allow' }], 'allow'],
    [[200, { result: 'deny' }], 'deny'],
    [[200, { result: 'ignore' }], 'ignore'],
    [[200, { result: 'maybe' }], 'unavailable'],
    [[200, { result: 'allow', acl: 'all' }], 'unavailable'],
    [[200, 'no JSON'], 'unavailable'],
    [[200, `{"result":"allow","x":"${'x'.repeat(70_000)}"}`], 'unavailable'],
    [[401, { result: 'allow' }], 'unavailable'],
    [[500, ''], 'unavailable'],
    [[200, { result: 'allow', expire_at: 1_600_000_000 }], 'deny'],
  ])('the answer %j is %s', async (answer, kind) => {
    const service = new Service();
    service.answer = () => answer;
    expect((await member(service).check(login())).kind).toBe(kind);
  });

  it('who gives nothing is not asked about', async () => {
    const service = new Service();
    const verdict = await member(service).check(
      login({ userName: undefined, password: undefined }),
    );
    expect(verdict.kind).toBe('ignore');
    expect(service.requests).toEqual([]);
  });

  it('that does not answer in time fails closed', async () => {
    const clock = new VirtualClock();
    const service = new Service();
    service.answer = () => new Promise(() => {});
    const checking = member(service, { clock, timeoutMs: 1_000 }).check(login());
    await clock.advance(1_001);
    expect(await checking).toMatchObject({ kind: 'unavailable', busy: false });
  });

  it('answers are good for a while, errors are not', async () => {
    const clock = new VirtualClock();
    const service = new Service();
    const http = member(service, { clock, cacheMs: 10_000 });
    service.answer = () => [500, ''];
    await http.check(login());
    service.answer = () => [200, { result: 'allow' }];
    for (let at = 0; at < 5; at++) expect((await http.check(login())).kind).toBe('allow');
    expect(service.requests).toHaveLength(2);
    // Whatever differs is another request.
    await http.check(login({ password: Buffer.from('other') }));
    await http.check(login({ clientId: 'c2' }));
    expect(service.requests).toHaveLength(4);
    await clock.advance(10_001);
    service.answer = () => [200, { result: 'deny' }];
    expect((await http.check(login())).kind).toBe('deny');
  });

  it('an answer that expires is not good for longer', async () => {
    const clock = new VirtualClock(1_700_000_000_000);
    const service = new Service();
    service.answer = () => [200, { result: 'allow', expire_at: 1_700_000_005 }];
    const http = member(service, { clock, cacheMs: 60_000 });
    expect(await http.check(login())).toMatchObject({
      identity: { expiresAtMs: 1_700_000_005_000 },
    });
    await clock.advance(5_001);
    expect((await http.check(login())).kind).toBe('deny');
  });

  it('gets so many requests at once; the others wait, and then are told', async () => {
    const service = new Service();
    const answers: ((answer: Answer) => void)[] = [];
    service.answer = () => new Promise((resolve) => answers.push(resolve));
    const http = member(service, { atOnceMax: 2, waitingMax: 1 });
    const checking = ['a', 'b', 'c'].map((clientId) => http.check(login({ clientId })));
    expect(await http.check(login({ clientId: 'd' }))).toMatchObject({
      kind: 'unavailable',
      busy: true,
    });
    expect(service.requests).toHaveLength(2);
    const same = http.check(login({ clientId: 'a' }));
    while (answers.length < 2) await Promise.resolve();
    answers.splice(0).forEach((answer) => answer([204, '']));
    while (answers.length < 1) await new Promise((resolve) => setImmediate(resolve));
    answers.forEach((answer) => answer([204, '']));
    const kinds = (await Promise.all([...checking, same])).map(({ kind }) => kind);
    expect(kinds).toEqual(['allow', 'allow', 'allow', 'allow']);
    expect(service.requests).toHaveLength(3);
  });

  it("over node's fetch: the right request, no redirect, and who is not there is unavailable", async () => {
    const seen: string[] = [];
    const server = createServer((request: IncomingMessage, response: ServerResponse) => {
      seen.push(`${request.method} ${request.url} ${String(request.headers['x-key'])}`);
      const isMoved = request.url === '/moved';
      if (isMoved) response.writeHead(302, { location: '/login' }).end();
      else
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":"allow"}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}`;
    const fetch: Fetch = (url, init) => globalThis.fetch(url, init);
    const headers = { 'x-key': 'k' };
    const here = member({ fetch }, { url: `${base}/login`, headers });
    expect((await here.check(login())).kind).toBe('allow');
    const moved = member({ fetch }, { url: `${base}/moved`, headers });
    expect((await moved.check(login())).kind).toBe('unavailable');
    expect(seen).toEqual(['POST /login k', 'POST /moved k']);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const gone = member({ fetch }, { url: `${base}/login` });
    expect((await gone.check(login())).kind).toBe('unavailable');
  });
});
