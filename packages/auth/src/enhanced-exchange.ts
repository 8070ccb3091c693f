import type { Principal } from './principal.ts';
import type { Refusal } from './verdict.ts';

/** Where an exchange of several messages is after one of the client's. */
export type ExchangeStep =
  | { readonly kind: 'continue'; readonly data: Buffer }
  /** `data` goes out with the acceptance: by it the server proves itself. */
  | { readonly kind: 'admitted'; readonly principal: Principal; readonly data: Buffer }
  | Refusal;

/** A login in several messages, as SASL and MQTT 5 know it. After a refusal it takes nothing more. */
export interface EnhancedExchange {
  readonly method: string;
  step(data: Buffer | undefined): Promise<ExchangeStep>;
}
