import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/** A client's side of SCRAM-SHA-256. */
export class ScramClient {
  readonly #bare: string;
  readonly #password: string;
  #serverFinal = '';

  constructor(userName: string, password: string) {
    this.#bare = `n=${userName},r=fyko+d2lbbFgONRv9qkxdawL`;
    this.#password = password;
  }

  get first(): Buffer {
    return Buffer.from(`n,,${this.#bare}`);
  }

  /** The answer to the server's first message. */
  final(challenge: Buffer | undefined): Buffer {
    const text = String(challenge);
    const [nonce = '', salt = '', iterations = ''] = text.split(',').map((part) => part.slice(2));
    const bytes = Buffer.from(salt, 'base64');
    const salted = pbkdf2Sync(this.#password, bytes, Number(iterations), 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    const signed = `${this.#bare},${text},c=biws,r=${nonce}`;
    const storedKey = createHash('sha256').update(clientKey).digest();
    const signature = createHmac('sha256', storedKey).update(signed).digest();
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
    const serverKey = createHmac('sha256', salted).update('Server Key').digest();
    this.#serverFinal = `v=${createHmac('sha256', serverKey).update(signed).digest('base64')}`;
    return Buffer.from(`c=biws,r=${nonce},p=${proof.toString('base64')}`);
  }

  /** Whether the server knows the password, too. */
  isProven(serverFinal: Buffer | undefined): boolean {
    return String(serverFinal) === this.#serverFinal;
  }
}
