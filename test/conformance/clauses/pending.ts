/** Server statements that have no test yet, by what they wait for. One that has a test may not stand here. */
export const pendingClauses: Readonly<Record<string, readonly string[]>> = {};

/** Server statements that no test can show here, and why. */
export const inapplicableClauses: Readonly<Record<string, string>> = {
  'MQTT-7.0.0-1': 'the server makes no MQTT connections of its own',
  'MQTT-7.1.1-2': 'it allows and asks for nothing',
  'MQTT5-3.3.4-5': 'one copy is sent, with all identifiers (MQTT5-3.3.4-4)',
};
