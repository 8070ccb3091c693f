/** The port of HOST:PORT. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** The host of HOST:PORT, without the brackets of an IPv6 address. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/** HOST:PORT as others reach it: with the advertised host, if there is one. */
export function advertisedAddress(address: string, host: string | undefined): string {
  return host === undefined ? address : `${host}:${portOf(address)}`;
}
