import { seededRandom } from '@robustmq/core';
import { describe, expect, it } from 'vitest';

import { hashPassword, parsePasswordHash, passwordFits } from './password-hash.ts';

const cheap = { logCost: 4, blockSize: 8, parallel: 1 };
const password = Buffer.from('wonderland');

/** Made by mosquitto_passwd 2.0.11, the second one with -H sha512. */
const mosquitto = {
  pbkdf2:
    '$7$101$x+bTvt4g9wsdE1kl$1ANZeeawNwmdqZEnaJuhE/J2cfK7cMJFJkcoTSNVEx8aSDzWXcjZrXRzbu/DkSHyAnI58ONWX8FoBf+Zpemizg==',
  sha512:
    '$6$FVzAh2XRKeraS07G$XUyYPdf0nq03VDPvaYdEmpiygN82v7ZW8JiCWsp184OD5+2BGInj7J9DGQ+fW4JV4h4EFMiiQllJ6BM4uaj2qg==',
};

describe('a password hash', () => {
  it('fits its password only, and says its parameters', async () => {
    const text = await hashPassword(password, seededRandom(1), cheap);
    expect(text).toMatch(/^\$scrypt\$ln=4,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await passwordFits(parsePasswordHash(text), password)).toBe(true);
    expect(await passwordFits(parsePasswordHash(text), Buffer.from('Wonderland'))).toBe(false);
  });

  it.each(Object.entries(mosquitto))('of Mosquitto fits: %s', async (_name, text) => {
    expect(await passwordFits(parsePasswordHash(text), password)).toBe(true);
    expect(await passwordFits(parsePasswordHash(text), Buffer.from('x'))).toBe(false);
  });

  it.each([
    ['plain', 'none of'],
    ['$1$a$b', 'none of'],
    ['$6$c2FsdA==$c2hvcnQ=', '64'],
    ['$7$0$c2FsdA==$c2hvcnQ=', 'iterations'],
    ['$7$99999999$c2FsdA==$c2hvcnQ=', 'iterations'],
    ['$scrypt$ln=22,r=8,p=1$c2FsdA$aGFzaA', 'more than'],
    ['$scrypt$ln=14,r=0,p=1$c2FsdA$aGFzaA', 'nothing'],
    ['$scrypt$ln=14,r=8$c2FsdA$aGFzaA', 'ln='],
    ['$scrypt$ln=14,r=8,p=1$sa lt$aGFzaA', 'base64'],
  ])('%s is refused: %s', (text, why) => {
    expect(() => parsePasswordHash(text)).toThrow(why);
  });
});
