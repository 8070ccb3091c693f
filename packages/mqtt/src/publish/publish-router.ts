import { isPublishAllowed, type PrincipalAccess } from '@robustmq/auth';

import type { PublishPacket } from '../codec/packet.ts';
import { fault, protocolError, type ProtocolFault } from '../codec/protocol-fault.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import { sameBytes } from '../codec/utf8.ts';
import type { PublishRoute, RouteTable } from './route-table.ts';

/**
 * Why a publish goes nowhere: the client broke the protocol; topics that begin with `$` are the
 * server's [MQTT5 4.7.2], or the rewrite rules make no legal one; the catalog does not show the topic
 * that should take the message; the client may not publish there.
 */
export type Unroutable = ProtocolFault | 'server-topic' | 'unknown-topic' | 'not-authorized';

/** The topic that rules make of one; undefined: none that is legal. */
export type Rewrite = (topic: string) => string | undefined;

const noTopic = Buffer.alloc(0);

/**
 * Finds the routes of one client's publishes: its topic aliases, and the last topic, which most
 * clients publish to again.
 */
export class PublishRouter {
  readonly #routes: RouteTable;
  readonly #aliasMax: number;
  readonly #access: PrincipalAccess | undefined;
  readonly #rewrite: Rewrite | undefined;
  #aliases: Map<number, Buffer> | undefined;
  /** As the client spells it. */
  #topic: Buffer = noTopic;
  /** As the rules change it. */
  #name = '';
  #route: PublishRoute | undefined;
  #version = -1;
  /** Of the rules by which {@link #publishBits} were decided. */
  #accessVersion = 0;
  /** Which publishes to the topic are allowed. */
  #publishBits = 0;
  #unroutable: Unroutable = 'unknown-topic';

  /** `access` undefined: everything is allowed. It is asked about the topic that `rewrite` makes. */
  constructor(
    routes: RouteTable,
    aliasMax: number,
    access: PrincipalAccess | undefined,
    rewrite?: Rewrite,
  ) {
    this.#routes = routes;
    this.#aliasMax = aliasMax;
    this.#access = access;
    this.#rewrite = rewrite;
  }

  /** MQTT topic name of the route that was returned last. */
  get topic(): string {
    return this.#name;
  }

  /** Why the last {@link route} was undefined. */
  get unroutable(): Unroutable {
    return this.#unroutable;
  }

  /** Where a publish goes; undefined: nowhere. */
  route(packet: PublishPacket): PublishRoute | undefined {
    const { buffer, topicStart, topicEnd, topicAlias } = packet;
    if (topicAlias > 0) return this.#aliasRoute(packet);
    const known = this.#route;
    if (
      known !== undefined &&
      this.#version === this.#routes.version &&
      sameBytes(buffer, topicStart, topicEnd, this.#topic)
    ) {
      return this.#access === undefined ? known : this.#allowed(packet, known, this.#access);
    }
    return this.#lookUp(packet, Buffer.from(buffer.subarray(topicStart, topicEnd)));
  }

  /** What was decided for the topic is good while the rules are the same. */
  #allowed(
    packet: PublishPacket,
    route: PublishRoute,
    access: PrincipalAccess,
  ): PublishRoute | undefined {
    const { version } = access;
    if (version !== this.#accessVersion) {
      this.#publishBits = access.publishBits(this.topic);
      this.#accessVersion = version;
    }
    const isAllowed = isPublishAllowed(this.#publishBits, packet.qos, packet.retain);
    return isAllowed ? route : this.#nowhere('not-authorized');
  }

  #aliasRoute(packet: PublishPacket): PublishRoute | undefined {
    const { topicAlias, topicStart, topicEnd, buffer } = packet;
    if (topicAlias > this.#aliasMax) {
      const message = `topic alias ${topicAlias} is above ${this.#aliasMax}`;
      return this.#nowhere(fault(ReasonCode.topicAliasInvalid, 'MQTT5-3.3.2-9', message));
    }
    this.#aliases ??= new Map();
    let topic = this.#aliases.get(topicAlias);
    if (topicEnd > topicStart) {
      topic = Buffer.from(buffer.subarray(topicStart, topicEnd));
      this.#aliases.set(topicAlias, topic);
    }
    if (topic === undefined) {
      const message = `topic alias ${topicAlias} stands for nothing`;
      return this.#nowhere(protocolError('MQTT5-3.3.2-12', message));
    }
    return this.#lookUp(packet, topic);
  }

  #lookUp(packet: PublishPacket, topic: Buffer): PublishRoute | undefined {
    const spelled = topic.toString();
    const name = this.#rewrite === undefined ? spelled : this.#rewrite(spelled);
    if (name === undefined || name.startsWith('$')) return this.#nowhere('server-topic');
    const route = this.#routes.route(name);
    if (route === undefined) return this.#nowhere('unknown-topic');
    this.#name = name;
    this.#topic = topic;
    this.#route = route;
    this.#version = this.#routes.version;
    if (this.#access === undefined) return route;
    this.#accessVersion = -1;
    return this.#allowed(packet, route, this.#access);
  }

  #nowhere(why: Unroutable): undefined {
    this.#unroutable = why;
    return undefined;
  }
}
