import { describe, expect, it } from 'vitest';

import { citationsIn } from './citation.ts';

describe('citations', () => {
  it.each([
    ['[MQTT5-3.1.4-3] a takeover', ['MQTT5-3.1.4-3']],
    ['[MQTT5-3.1.2-4, -5] kept', ['MQTT5-3.1.2-4', 'MQTT5-3.1.2-5']],
    ['[MQTT5-3.9.2-1, -3.11.2-2] left out', ['MQTT5-3.9.2-1', 'MQTT5-3.11.2-2']],
    ['[MQTT5-3.3.1-9..-11]', ['MQTT5-3.3.1-9', 'MQTT5-3.3.1-10', 'MQTT5-3.3.1-11']],
    ['at the end [MQTT5-4.2-1]', ['MQTT5-4.2-1']],
    ['[MQTT5-3.1.0-1, MQTT-3.1.0-1, -2]', ['MQTT5-3.1.0-1', 'MQTT-3.1.0-1', 'MQTT-3.1.0-2']],
    ['[MQTT5-3.1.0-1] [MQTT-3.1.0-1]', ['MQTT5-3.1.0-1', 'MQTT-3.1.0-1']],
    ['of a section [MQTT5 section 2.4] [MQTT5-3.14.2.2.2] [MQTT5 4.7.2]', []],
    ['none', []],
  ])('%j', (text, ids) => {
    expect(citationsIn(text)).toEqual({ ids, unreadable: [] });
  });

  it.each(['MQTT-3-8.3-4', 'MQTT5-3.2.2-3.2.2.3', 'MQTT5-4.3.1..3'])(
    '%s is no citation',
    (cited) => {
      expect(citationsIn(`[${cited}] x`)).toEqual({ ids: [], unreadable: [cited] });
    },
  );
});
