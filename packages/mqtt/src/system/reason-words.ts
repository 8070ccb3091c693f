import { ReasonCode } from '../codec/reason-code.ts';

const names = new Map<number, string>(
  Object.entries(ReasonCode).map(([name, code]) => [
    code,
    name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`),
  ]),
);

/** A reason code of a DISCONNECT in words. */
export function reasonWords(reasonCode: number): string {
  if (reasonCode === ReasonCode.success) return 'normal';
  return names.get(reasonCode) ?? `reason code ${reasonCode}`;
}
