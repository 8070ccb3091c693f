import { describe, expect, it } from 'vitest';
import { FailureDetector, type GivenUp, type Vitals } from './failure-detector.ts';

const passEachMs = 100;
const well: Vitals = { loopLagMs: 0, syncAgeMs: 0 };

/** Nodes that send a heartbeat each 500 ms, and a detector that passes each 100 ms. */
class Scene {
  readonly detector = new FailureDetector({ leaseMs: 2_500, passEachMs, hungSyncMs: 2_000 });
  readonly suspected: string[] = [];
  /** `time node reason`, in the order in which they were given up. */
  readonly givenUp: string[] = [];
  readonly silent = new Set<string>();
  readonly syncSinceMs = new Map<string, number>();
  readonly lagMs = new Map<string, number>();
  nowMs = 0;
  readonly #nodes: readonly string[];

  constructor(...nodes: string[]) {
    this.#nodes = nodes;
    for (const node of nodes) this.detector.registered(node, node.startsWith('j'), true, 0);
    this.detector.pass(0);
  }

  /** Lets time pass; the nodes in `silent` say nothing. */
  run(ms: number): this {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += passEachMs;
      if (this.nowMs % 500 === 0) for (const node of this.#nodes) this.#beat(node);
      this.#take(this.detector.pass(this.nowMs));
    }
    return this;
  }

  /** This process stands still. */
  stand(ms: number): this {
    this.nowMs += ms;
    this.#take(this.detector.pass(this.nowMs));
    return this;
  }

  get names(): string[] {
    return this.givenUp.map((line) => line.split(' ').slice(0, 2).join(' '));
  }

  #beat(node: string): void {
    if (this.silent.has(node)) return;
    const sinceMs = this.syncSinceMs.get(node);
    const syncAgeMs = sinceMs === undefined ? 0 : this.nowMs - sinceMs;
    const loopLagMs = this.lagMs.get(node) ?? 0;
    this.detector.heard(node, this.nowMs, { ...well, loopLagMs, syncAgeMs });
  }

  #take(verdicts: { suspected: readonly string[]; givenUp: readonly GivenUp[] }): void {
    this.suspected.push(...verdicts.suspected.map((node) => `${this.nowMs} ${node}`));
    for (const { nodeId, reason } of verdicts.givenUp) {
      this.givenUp.push(`${this.nowMs} ${nodeId} ${reason}`);
    }
  }
}

const three = ['j1', 'j2', 'j3'];

describe('failure detector', () => {
  it('calls overdue who has missed two heartbeats, later as its event loop lags, until it is heard', () => {
    const scene = new Scene(...three);
    const isOverdue = (): boolean => scene.detector.isOverdue('j1', scene.nowMs);
    scene.run(500).silent.add('j1');
    expect([scene.run(900), isOverdue()]).toEqual([scene, false]);
    expect([scene.run(100), isOverdue()]).toEqual([scene, true]);
    scene.silent.delete('j1');
    scene.lagMs.set('j1', 300);
    expect([scene.run(500), isOverdue()]).toEqual([scene, false]);
    scene.silent.add('j1');
    expect([scene.run(1_200), isOverdue()]).toEqual([scene, false]);
    expect([scene.run(100), isOverdue()]).toEqual([scene, true]);
  });

  it('suspects after 1.5 s of silence, once, and gives up after 2.5 s', () => {
    const scene = new Scene(...three);
    scene.silent.add('j1');
    scene.run(20_000);
    expect(scene.suspected).toEqual(['1500 j1']);
    expect(scene.givenUp).toEqual(['2500 j1 nothing was heard of it for 2500 ms']);
    expect(scene.detector.isGivenUp('j1')).toBe(true);
    scene.silent.clear();
    scene.run(500);
    expect(scene.detector.isGivenUp('j1')).toBe(false);
  });

  it('watches brokers by the same times', () => {
    const scene = new Scene('b1', 'b2', 'j1');
    for (const node of ['b1', 'b2']) scene.silent.add(node);
    expect(scene.run(3_000).names).toEqual(['2500 b1', '2500 b2']);
  });

  it('adds its own pause to every silence', () => {
    const scene = new Scene(...three);
    scene.run(400).stand(60_000);
    expect(scene.givenUp).toEqual([]);
    scene.silent.add('j1');
    scene.run(1_900);
    expect(scene.givenUp).toEqual([]);
    expect(scene.run(200).names).toHaveLength(1);
  });

  it('knows nothing of a node that has ended, until it registers', () => {
    const scene = new Scene(...three);
    scene.detector.end('j1');
    scene.silent.add('j1');
    expect(scene.run(10_000).givenUp).toEqual([]);
  });

  it('gives what could not be carried out its time once more', () => {
    const scene = new Scene(...three);
    scene.silent.add('j1');
    scene.run(2_500);
    scene.detector.putOff('j1', scene.nowMs);
    expect(scene.run(3_000).names).toEqual(['2500 j1', '5000 j1']);
  });

  describe('a journal whose disk hangs', () => {
    it('is given up once a sync is under way for 2 s, and is back when it is done', () => {
      const scene = new Scene(...three);
      scene.run(700);
      scene.syncSinceMs.set('j1', 700);
      scene.run(10_000);
      expect(scene.givenUp).toEqual(['3000 j1 its disk hangs: a sync is under way for 2300 ms']);
      expect(scene.detector.isGivenUp('j1')).toBe(true);
      expect(scene.detector.isHung('j1')).toBe(true);
      scene.syncSinceMs.clear();
      scene.run(500);
      expect(scene.detector.isGivenUp('j1')).toBe(false);
    });

    it('is not given up for syncs that are slow and come to an end', () => {
      const scene = new Scene(...three);
      for (let begun = 0; begun < 20_000; begun += 1_900) {
        scene.syncSinceMs.set('j1', begun);
        scene.run(1_900);
      }
      expect(scene.givenUp).toEqual([]);
    });

    it('is kept when no other journal is well', () => {
      const alone = new Scene('j1', 'b1');
      alone.syncSinceMs.set('j1', 0);
      expect(alone.run(10_000).givenUp).toEqual([]);
      const two = new Scene('j1', 'j2');
      for (const node of ['j1', 'j2']) two.syncSinceMs.set(node, 0);
      expect(two.run(10_000).givenUp).toEqual([]);
    });

    it('is not one whose event loop was late to notice', () => {
      const scene = new Scene(...three);
      scene.run(500);
      // Its first heartbeat after 2.4 s, in which it noticed nothing, tells of a sync as old as that.
      scene.silent.add('j1');
      scene.run(2_000);
      scene.silent.clear();
      scene.syncSinceMs.set('j1', 500);
      scene.run(500);
      scene.syncSinceMs.clear();
      expect(scene.run(5_000).givenUp).toEqual([]);
    });
  });

  describe('hysteresis', () => {
    const lapses = (scene: Scene, silentMs: number): number => {
      const begunMs = scene.nowMs;
      const before = scene.givenUp.length;
      scene.silent.add('j1');
      scene.run(silentMs);
      scene.silent.clear();
      scene.run(2_000);
      const line = scene.givenUp[before];
      return line === undefined ? 0 : Number(line.split(' ')[0]) - begunMs;
    };

    it('waits 1 s longer for a node that was there all the time, however often, and calls it restless', () => {
      const scene = new Scene(...three);
      expect(scene.detector.isRestless('j1')).toBe(false);
      expect(lapses(scene, 3_000)).toBe(2_500);
      expect(scene.detector.isRestless('j1')).toBe(true);
      expect(lapses(scene, 3_000)).toBe(0);
      for (let times = 0; times < 4; times++) expect(lapses(scene, 5_000)).toBe(3_500);
      expect(scene.names.every((name) => name.endsWith('j1'))).toBe(true);
    });

    it('goes back when there were no more false alarms for a while', () => {
      const scene = new Scene(...three);
      lapses(scene, 3_000);
      scene.run(70_000);
      expect(scene.detector.isRestless('j1')).toBe(false);
      expect(lapses(scene, 3_000)).toBe(2_500);
    });

    it('is none when twice the time would not have helped: it was away', () => {
      const scene = new Scene(...three);
      for (let times = 0; times < 5; times++) expect(lapses(scene, 8_000)).toBe(2_500);
    });

    it('waits longer for a node whose event loop lags, as long as it says so', () => {
      const scene = new Scene(...three);
      scene.lagMs.set('j1', 1_000);
      scene.run(500);
      expect(lapses(scene, 4_000)).toBe(3_500);
      scene.lagMs.set('j1', 60_000);
      scene.run(500);
      expect(lapses(scene, 11_000)).toBe(10_000);
      scene.lagMs.clear();
      scene.run(130_000);
      expect(lapses(scene, 4_000)).toBe(2_500);
    });
  });

  describe('when most journals look bad at once', () => {
    it('gives up nobody for 10 s, then all that still do, without a second pause', () => {
      const scene = new Scene('j1', 'j2', 'j3', 'j4', 'j5', 'b1');
      for (const node of ['j1', 'j2', 'j3', 'b1']) scene.silent.add(node);
      scene.run(12_400);
      expect(scene.names).toEqual(['2500 b1']);
      scene.run(100);
      expect(scene.names.slice(1)).toEqual(['12500 j1', '12500 j2', '12500 j3']);
      scene.silent.add('j4');
      scene.run(3_000);
      expect(scene.names.slice(4)).toEqual(['15000 j4']);
    });

    it('counts those that only are late, so that the first to be due does not go alone', () => {
      const scene = new Scene(...three);
      scene.silent.add('j1');
      scene.run(900);
      scene.silent.add('j2');
      scene.run(6_000);
      expect(scene.givenUp).toEqual([]);
      scene.silent.delete('j2');
      expect(scene.run(500).names).toEqual(['7000 j1']);
    });

    it('gives up whoever still looks bad as soon as most look well again', () => {
      const scene = new Scene(...three);
      for (const node of three) scene.silent.add(node);
      scene.run(5_000);
      scene.silent.delete('j2');
      scene.silent.delete('j3');
      expect(scene.run(500).names).toEqual(['5500 j1']);
    });

    it('counts disks that hang: one machine below all of them may stand still', () => {
      const scene = new Scene(...three);
      for (const node of ['j1', 'j2']) scene.syncSinceMs.set(node, 0);
      scene.run(8_000);
      scene.syncSinceMs.clear();
      expect(scene.run(5_000).givenUp).toEqual([]);
    });

    it('does not count one that was given up long ago', () => {
      const scene = new Scene(...three);
      scene.silent.add('j1');
      scene.run(20_000);
      scene.silent.add('j2');
      scene.run(3_000);
      expect(scene.names).toEqual(['2500 j1', '22500 j2']);
    });

    it('has no "most" with one or two: one of two goes, and both go, at once', () => {
      const one = new Scene('j1');
      one.silent.add('j1');
      expect(one.run(3_000).names).toEqual(['2500 j1']);
      const two = new Scene('j1', 'j2');
      two.silent.add('j1');
      two.silent.add('j2');
      expect(two.run(3_000).names).toEqual(['2500 j1', '2500 j2']);
    });
  });

  describe('who was just started', () => {
    it('is cold for 5 s beside others that have run for longer', () => {
      const scene = new Scene('j1', 'j2').run(5_000);
      scene.detector.end('j2');
      scene.detector.registered('j2', true, true, scene.nowMs);
      expect(scene.detector.isCold('j2', scene.nowMs + 4_999)).toBe(true);
      expect(scene.detector.isCold('j2', scene.nowMs + 5_000)).toBe(false);
      expect(scene.detector.isCold('j1', scene.nowMs)).toBe(false);
    });

    it('is cold again when it is started before its end was noticed', () => {
      const { detector, nowMs } = new Scene('j1', 'j2').run(6_000);
      detector.registered('j2', true, true, nowMs);
      expect(detector.isCold('j2', nowMs)).toBe(true);
    });

    it('is not cold when all were, when it is alone, or when it only registers again', () => {
      const together = new Scene('j1', 'j2');
      together.run(4_900).detector.registered('j3', true, true, together.nowMs);
      expect(together.detector.isCold('j3', together.nowMs)).toBe(false);
      const alone = new Scene('j1', 'b1').run(6_000);
      alone.detector.registered('j1', true, true, alone.nowMs);
      expect(alone.detector.isCold('j1', alone.nowMs)).toBe(false);
      const { detector, nowMs } = new Scene('j1', 'j2').run(6_000);
      detector.registered('j2', true, false, nowMs);
      expect(detector.isCold('j2', nowMs)).toBe(false);
    });

    it('is cold after it was given up and is heard again, and a broker is not', () => {
      const scene = new Scene('j1', 'j2', 'j3', 'b1').run(5_000);
      scene.silent.add('j2').add('b1');
      scene.run(4_000).silent.clear();
      expect(scene.names).toEqual(['7500 j2', '7500 b1']);
      scene.run(500);
      const { detector, nowMs } = scene;
      expect([detector.isCold('j2', nowMs), detector.isCold('b1', nowMs)]).toEqual([true, false]);
      expect(detector.isCold('j2', nowMs + 5_000)).toBe(false);
    });

    it('is not cold when the others are given up', () => {
      const scene = new Scene('j1', 'j2', 'b1');
      scene.run(5_000).detector.end('j1');
      scene.detector.registered('j2', true, true, scene.nowMs);
      expect(scene.detector.isCold('j2', scene.nowMs)).toBe(false);
    });
  });
});
