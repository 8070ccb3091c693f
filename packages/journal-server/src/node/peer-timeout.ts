/**
 * How long a peer may take to give frames or producers, in ms, before the next one is asked: shorter than
 * placement waits for what they are needed for, so that one that is cut off is no reason to fail.
 */
export const peerTimeoutMs = 2_000;
