import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** A process of the bench that loads a broker: takes a plan, then tells how it goes, message by message. */
export class GeneratorProcess<Report> implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #reports: Report[] = [];
  readonly #errors: string[] = [];
  #arrived = Promise.withResolvers<void>();
  #ended = false;

  /** Starts `module` with the flags `execArgv` and gives it `plan` as its first message. */
  constructor(module: URL, plan: object, execArgv: string[] = []) {
    this.#child = fork(module, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], execArgv });
    this.pid = this.#child.pid ?? 0;
    this.#child.stderr?.on('data', (text) => this.#errors.push(String(text)));
    this.#child.on('message', (report) => {
      this.#reports.push(report as Report);
      this.#wake();
    });
    this.#child.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
    this.#child.send(plan);
  }

  /** Its next message. Rejects with what it printed when it ends instead. */
  async next(): Promise<Report> {
    for (;;) {
      const report = this.#reports.shift();
      if (report !== undefined) return report;
      if (this.#ended) throw new Error(`the load generator ended: ${this.#whyEnded()}`);
      await this.#arrived.promise;
    }
  }

  /** Tells it something. */
  send(message: object | string): void {
    if (!this.#ended) this.#child.send(message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }

  /** The message of the error that ended it, or else all that it printed. */
  #whyEnded(): string {
    const printed = this.#errors.join('').trim();
    return /^\w*Error: (.*)$/m.exec(printed)?.[1] ?? (printed || 'killed');
  }

  #wake(): void {
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers<void>();
  }
}
