/**
 * What stands in the way of a rebuild. `conflict`: reports contradict each other, and somebody has to find
 * out why. `loss`: records that the chain had are not at the journals that answered; an operator may accept
 * that, and the chain then begins behind the last of them.
 */
export interface Finding {
  readonly kind: 'conflict' | 'loss';
  readonly text: string;
}
