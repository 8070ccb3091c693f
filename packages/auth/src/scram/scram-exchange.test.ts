import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

import { seededRandom } from '@robustmq/core';
import { describe, expect, it } from 'vitest';

import { ScramExchange } from './scram-exchange.ts';
import {
  digestNameOf,
  makeScramKeys,
  parseScramKeys,
  type ScramKeys,
  scramKeysText,
} from './scram-keys.ts';

/** Keys of `password` with a salt and iterations that are given. */
function keysOf(password: string, salt: string, iterations: number): ScramKeys {
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  return {
    iterations,
    salt: Buffer.from(salt, 'base64'),
    storedKey: createHash('sha256').update(clientKey).digest(),
    serverKey: createHmac('sha256', salted).update('Server Key').digest(),
  };
}

/** The example of RFC 7677, section 3. */
const rfc = {
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  keys: keysOf('pencil', 'W22ZaJ0SNY7soEsUEjb6gQ==', 4096),
  proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const nonce = rfc.clientNonce + rfc.serverNonce;

function challenged(first = `n,,n=user,r=${rfc.clientNonce}`): ScramExchange {
  const exchange = new ScramExchange('SCRAM-SHA-256', rfc.serverNonce);
  exchange.begin(first);
  exchange.challenge(rfc.keys);
  return exchange;
}

describe('a SCRAM exchange', () => {
  it('[RFC 7677, section 3] is the one of the example', () => {
    const exchange = new ScramExchange('SCRAM-SHA-256', rfc.serverNonce);
    const named = exchange.begin(`n,,n=user,r=${rfc.clientNonce}`);
    expect(named).toEqual({ kind: 'named', userName: 'user' });
    expect(exchange.challenge(rfc.keys)).toBe(`r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
    const result = exchange.finish(`c=biws,r=${nonce},p=${rfc.proof}`);
    expect(result).toEqual({ kind: 'proven', message: rfc.serverFinal });
  });

  it.each([
    ['n,,n=a=2Cb=3Dc,r=x', 'a,b=c'],
    ['y,,n=user,r=x', 'user'],
    ['n,a=user,n=user,r=x', 'user'],
    ['n,,n=user,r=x,ext=1', 'user'],
    // SASLprep: U+2168 is IX, a soft hyphen is nothing. [RFC 4013, section 3]
    ['n,,n=\u2168,r=x', 'IX'],
    ['n,,n=I\u00adX,r=x', 'IX'],
  ])('[RFC 5802, section 7] %j names %j', (message, userName) => {
    const exchange = new ScramExchange('SCRAM-SHA-256', 'y');
    expect(exchange.begin(message)).toEqual({ kind: 'named', userName });
  });

  it.each([
    ['', 'no client-first-message'],
    ['n=user,r=x', 'no client-first-message'],
    ['p=tls-unique,,n=user,r=x', 'channel binding'],
    ['n,,n=,r=x', 'cannot spell'],
    ['n,,n=a=2Xb,r=x', 'cannot spell'],
    ['n,,n=a\u0007,r=x', 'cannot spell'],
    ['n,,n=user,r=', 'nonce'],
    ['n,,n=user,r=a b', 'nonce'],
    ['n,,n=user', 'no user name and nonce'],
    ['n,,m=1,n=user,r=x', 'no user name and nonce'],
    ['n,a=other,n=user,r=x', 'authorization identity'],
  ])('[RFC 5802, section 5.1] %j fails: %s', (message, why) => {
    const result = new ScramExchange('SCRAM-SHA-256', 'y').begin(message);
    expect(result).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining(why) as string,
    });
  });

  it.each([
    ['c=biws,r=other,p=AAAA', 'nonce'],
    [`c=eSws,r=${nonce},p=${rfc.proof}`, 'channel binding'],
    [`c=biws,r=${nonce},p=AAAA`, 'password'],
    [`c=biws,r=${nonce},x=1,p=${rfc.proof}`, 'password'],
    [`c=biws,r=${nonce}`, 'no client-final-message'],
    ['', 'no client-final-message'],
  ])('[RFC 5802, section 5.1] a final message %j fails: %s', (message, why) => {
    const result = challenged().finish(message);
    expect(result).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining(why) as string,
    });
  });

  it('takes nothing after its end, nor a final message at first', () => {
    const exchange = challenged();
    const final = `c=biws,r=${nonce},p=${rfc.proof}`;
    expect(exchange.finish(final).kind).toBe('proven');
    expect(exchange.finish(final).kind).toBe('failed');
    expect(exchange.begin('n,,n=user,r=x').kind).toBe('failed');
    expect(new ScramExchange('SCRAM-SHA-256', 'y').finish(final).kind).toBe('failed');
  });
});

describe('SCRAM keys', () => {
  it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const)(
    'of %s are written and read',
    async (mechanism) => {
      const keys = await makeScramKeys(mechanism, 'pencil', seededRandom(2), 4096);
      if (keys === undefined) throw new Error('there are keys');
      const text = scramKeysText(mechanism, keys);
      expect(parseScramKeys(mechanism, text)).toEqual(keys);
      const client = createHmac(digestNameOf(mechanism), 'x');
      expect(client.digest()).toHaveLength(keys.storedKey.length);
    },
  );

  it('say what is wrong with them', () => {
    const parse = (text: string) => () => parseScramKeys('SCRAM-SHA-256', text);
    expect(parse('x')).toThrow('are not SCRAM-SHA-256$');
    expect(parse('SCRAM-SHA-512$4096:YQ==$YQ==:YQ==')).toThrow('are not SCRAM-SHA-256$');
    expect(parse('SCRAM-SHA-256$1000:YQ==$YQ==:YQ==')).toThrow('4096 is the least');
    expect(parse('SCRAM-SHA-256$4096:YQ==$YQ==:YQ==')).toThrow('32 bytes');
  });

  it('are not made of a password that SCRAM cannot spell', async () => {
    expect(await makeScramKeys('SCRAM-SHA-256', 'a\u0007', seededRandom(2), 4096)).toBeUndefined();
  });
});
